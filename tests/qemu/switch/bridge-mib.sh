#!/bin/sh
# The forwarding table of the bridge br0 (BRIDGE-MIB) for pass_persist of snmpd, read again for each question:
# the numbers of the ports, and the MACs that the bridge has learnt with the port of each.
answer() {
    { ip -o link show master br0; bridge fdb show br br0; } | awk -v word="$1" -v asked="$2" '
        function hex(digits) {
            return 16 * (index("0123456789abcdef", substr(digits, 1, 1)) - 1) \
                + index("0123456789abcdef", substr(digits, 2, 1)) - 1
        }
        # Whether one OID is after another, number by number.
        function is_after(oid, other,   a, b, count, others, i) {
            count = split(oid, a, ".")
            others = split(other, b, ".")
            for (i = 1; i <= count && i <= others; i++)
                if (a[i] + 0 != b[i] + 0) return a[i] + 0 > b[i] + 0
            return count > others
        }
        function row(oid, number) {
            if (word == "get" ? oid == asked : is_after(oid, asked) && (best == "" || is_after(best, oid))) {
                best = oid
                value = number
            }
        }
        $1 ~ /^[0-9]+:$/ {
            sub(/[:@].*/, "", $2)
            number[$2] = $1 + 0
            row(".1.3.6.1.2.1.17.1.4.1.2." number[$2], number[$2])
        }
        $2 == "dev" && /master br0/ && !/permanent/ {
            split($1, mac, ":")
            oid = ".1.3.6.1.2.1.17.4.3.1.2"
            for (i = 1; i <= 6; i++) oid = oid "." hex(mac[i])
            row(oid, number[$3])
        }
        END {
            if (best == "") print "NONE"
            else printf "%s\ninteger\n%d\n", best, value
        }'
}
while read -r word; do
    case $word in
    PING) echo PONG ;;
    get | getnext)
        read -r asked
        answer "$word" "$asked"
        ;;
    *) echo NONE ;;
    esac
done
