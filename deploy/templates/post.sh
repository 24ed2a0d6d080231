# Runs in the new system before its first boot: the node's scripts, and the end of the installation.
server='#ENV:MASTER_IP#'
http='#ENV:HTTPPORT#'
status='#ENV:XCATIPORT#'
node='#HOSTNAME#'

fetch() { # address, file
  if command -v curl >/dev/null; then curl -fsS --retry 3 --max-time 60 -o "$2" "$1"
  else wget -q -T 60 -O "$2" "$1"; fi
}

# A word on the status port: the server sends ready, reads the word and sends done.
say() {
  for attempt in 1 2 3 4 5; do
    if exec 3<>"/dev/tcp/$server/$status"; then
      read -r -t 10 answer <&3
      printf '%s\n' "$1" >&3
      read -r -t 10 answer <&3
      exec 3>&-
      [ "$answer" = done ] && return 0
    fi
    sleep 2
  done 2>/dev/null
  return 1
}

mkdir -p /opt/dawn/scripts
cd /opt/dawn || exit 1
cat >settings <<END
server=$server
http=$http
status=$status
END
declare -f fetch say >functions
cat >run <<'END'
# Runs the scripts of one half (postscripts, postbootscripts) with the node's variables.
cd /opt/dawn/scripts || exit 1
. ../settings
. ../functions
sed '/^# postscripts-start-here/,$d' ../mypostscript >../variables
failed=0
while read -r line; do
  set -f; set -- $line; set +f
  case $1 in ''|'#'*) continue ;; esac
  mkdir -p "$(dirname "$1")"
  if fetch "http://$server:$http/install/postscripts/$1" "$1" && chmod 755 "$1" &&
    (. ../variables; exec "./$@") </dev/null
  then echo "script $1: done"
  else echo "script $1: failed"; failed=1; fi
done <<LIST
$(sed -n "/^# $1-start-here/,/^# $1-end-here/p" ../mypostscript)
LIST
exit $failed
END
cat >firstboot <<'END'
# Runs at each boot: the scripts of the first one, and the report that the node has booted.
cd /opt/dawn || exit 1
. ./settings
. ./functions
word=booted
if [ -e mypostscript ]; then
  bash run postbootscripts || word=failed
  rm -f mypostscript variables
fi
say "installstatus $word"
END
cat >/etc/systemd/system/dawn-firstboot.service <<'END'
[Unit]
Description=Scripts of the first boot, and the report that the node has booted
Wants=network-online.target
After=network-online.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/bash /opt/dawn/firstboot

[Install]
WantedBy=multi-user.target
END
systemctl enable dawn-firstboot.service

fetch "http://$server:$http/tftpboot/mypostscripts/mypostscript.$node" mypostscript &&
  bash run postscripts || say 'installstatus failed'
# In any case: without it the node would install again at its next boot.
say next
