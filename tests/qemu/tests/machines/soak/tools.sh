#!/bin/sh
# Debian's own tools at work in a directory, until the time is over: packages built, installed, checked and removed,
# archives packed, unpacked and compared, sorting and compressing. Every result is compared with one that never was
# in this directory.
# Usage: tools.sh DIR SECONDS. Ends with `done N rounds`; any failure ends it with another last line.
set -eu
dir=$1 end=$(($(date +%s) + $2)) round=0
source=/usr/lib/systemd/system
mkdir -p "$dir"
cd "$dir"

sums() { (cd "$1" && find . -type f -print0 | sort -z | xargs -0 sha256sum); }

archives() {
    mkdir unpacked
    tar -cf all.tar -C "$source" .
    tar -xf all.tar -C unpacked
    diff -r --no-dereference "$source" unpacked
    [ "$(sums unpacked)" = "$wanted" ]
    gzip -k all.tar
    gzip -t all.tar.gz
    zcat all.tar.gz | cmp - all.tar
    (cd unpacked && find . | cpio -o -H newc --quiet) > all.cpio
    [ "$(cpio -it --quiet < all.cpio | wc -l)" = "$(find unpacked | wc -l)" ]
    rm -r unpacked all.tar all.tar.gz all.cpio
}

packages() {
    mkdir -p build/DEBIAN build/opt root/var/lib/dpkg/info root/var/lib/dpkg/updates root/var/lib/dpkg/triggers
    : > root/var/lib/dpkg/status
    : > root/var/lib/dpkg/available
    cp -r "$source" build/opt/proof
    printf 'Package: proof\nVersion: %s\nArchitecture: all\nMaintainer: nobody <nobody@localhost>\nDescription: proof\n' \
        "$round" > build/DEBIAN/control
    dpkg-deb -Znone -b build proof.deb > /dev/null
    dpkg --root=root --force-not-root -i proof.deb > /dev/null 2>&1
    [ "$(sums root/opt/proof)" = "$wanted" ]
    [ "$(dpkg-query --admindir=root/var/lib/dpkg -W -f '${Status} ${Version}' proof)" = "install ok installed $round" ]
    dpkg --root=root -P proof > /dev/null 2>&1
    [ ! -e root/opt/proof ]
    rm -r build root proof.deb
}

sorting() {
    seq 1 20000 | sort -R > numbers
    sort -n -T . -S 64K numbers > sorted
    seq 1 20000 | cmp - sorted
    [ "$(awk '{ sum += $1 } END { print sum }' numbers)" = 200010000 ]
    rm numbers sorted
}

wanted=$(sums "$source")
while [ "$(date +%s)" -lt "$end" ]; do
    archives
    packages
    sorting
    round=$((round + 1))
    echo "$round rounds"
done
echo "done $round rounds"
