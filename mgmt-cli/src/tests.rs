//! What commands print: sessions as data. Update with `UPDATE_EXPECT=1 cargo test -p dawn`.

mod advice;
mod databases;
mod dumped_files;
mod forced_setup;
mod noderange_word;
mod option_words;
mod templates;

use crate::testbed::session;
use expect_test::expect_file;

mod reach;

const CLUSTER: &str = "
    site key=domain value=cluster
    site key=auditskipcmds value=ALL
    policy priority=1 name=root rule=allow
    policy priority=2 commands=getdestiny,nextdestiny,litefile,litetree rule=allow
    policy priority=5 name=bob commands=nodels,noderange noderange=cn1 rule=allow
    site key=installdir value=/install
    nodelist node=cn1 groups=compute,all
    nodelist node=cn2 groups=compute,all
    nodelist node=sw1 groups=switches hidden=1
    nodehm node=compute mgt=ipmi power=ipmi
    hosts node=cn1 ip=10.0.0.1
    hosts node=compute ip=|10.0.0.($1+100)|
    mac node=cn1 mac=52:54:00:00:00:01
    ipmi node=cn1 bmc=10.1.0.1 password=hush
    networks net=10.0.0.0 mask=255.255.0.0 netname=prov
    osimage imagename=img provmethod=netboot osvers=debian12 osarch=x86_64 profile=compute imagetype=linux osname=Linux
    linuximage imagename=img rootimgdir=/install/netboot/debian12/x86_64/compute
";

fn check(name: &str, lines: &str) {
    let path = format!("{}/src/tests/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    expect_file![path].assert_eq(&session(CLUSTER, lines));
}

macro_rules! sessions {
    ($($name:ident: $lines:expr;)*) => {
        $(#[test] fn $name() { check(stringify!($name), $lines); })*
    };
}

sessions! {
    tabdump: "
        tabdump site
        tabdump -d hosts
        tabdump -w key==domain site
        tabdump -w key=~%d% site
        tabdump -w nope==1 site
        tabdump -w key+1 site
        tabdump nope
        tabdump -d nope
        tabdump -d site
        tabdump -f never -d passwd
        tabdump -n 2 site
        tabdump -n 2 eventlog
        tabdump -n 2 -d auditlog
        tabdump site hosts
        tabdump --nope
        tabdump --json site
        tabdump --json -w key==domain site
        tabdump --json -d hosts
        tabdump --json -f x site
        tabdump -v
    ";
    mkdef_force: "
        mkdef -t node k groups=all mgt=openbmc bmc=1.2.3.4 nicips.eth0=10.0.9.1
        mkdef -f -t node k groups=newgroup bmc=5.6.7.8
        lsdef k
        mkdef -f -t node k groups=all mgt=ipmi bmc=5.6.7.8 nicips.eth1=10.0.9.2
        lsdef k
        tabdump openbmc
        mkdef -f -t node k groups=compute bmc=5.6.7.9
        lsdef k -i mgt,bmc,ip
        chdef k -m mgt=ipmi bmc=9.9.9.9
        mkdef -t group -o kg members=k mgt=ipmi bmc=1.2.3.4
        mkdef -f -t group -o kg members=k bmc=5.6.7.8
        lsdef -t group kg -i mgt,bmc,members
        mkdef -f -t policy -o 1 name=root rule=allow
        mkdef -f -t network -o prov net=10.0.0.0 mask=255.255.0.0 gateway=10.0.0.9
        lsdef -t network prov
        mkdef -f -t osimage -o img provmethod=netboot osvers=d13 osarch=x86_64 profile=p imagetype=linux
        lsdef -t osimage img
    ";
    options: "
        tabdump -version
        tabdump --ver
        tabdump -wkey==domain -json site
        nodels --with cn1 groups
        nodeset -v
        nodeset
        nodeset cn1 -V --dry
        gettab
        noderm
        tabrestore
        imgexport --version
        lsxcatd --version
        mkdef -help
        bob$ mkdef -t node -o cn2 -f groups=all --templ cn1
        bob$ chdef -u cn1 profile=x
    ";
    gettab: "
        gettab key=domain site.value
        gettab -H key=domain site.value
        gettab node=cn1 hosts.ip nodelist.groups
        gettab key=nope site.value
        gettab nope=1 site.value
        gettab key=domain nope.value
        gettab key=domain site.nope
        gettab --json key=domain site.value site.comments
        gettab --json key=nope site.value
        gettab key=domain
    ";
    tabch: "
        chtab key=master site.value=10.0.0.1
        gettab key=master site.value
        chtab key=nameservers site.value=10.0.0.1
        chtab key=nameservers site.value+=10.0.0.2
        gettab key=nameservers site.value
        gettab key=master site.value
        chtab --dry-run key=master site.value=x
        chtab --dry-run key=master site.value=10.0.0.3
        gettab key=master site.value
        chtab key=master site.value=NULL
        tabdump -w key==master site
        chtab key=master site.value=10.0.0.4 --dry-run
        chtab key=master --dry-run site.value=-1
        chtab -d key=master site
        tabdump -w key==master site
        chtab node=cn9 hosts.ip=10.0.0.9 mac.mac=52:54:00:00:00:09
        nodels cn1 hosts.ip
        chtab node=cn1 hosts.nope=1 hosts.ip=10.9.9.9
        chtab node=cn1 nope.ip=1
        chtab nope=cn1 hosts.ip=1
        chtab node=cn1 hosts
        chtab
        tabch node=cn1
        tabch -d node=cn9 hosts mac
        tabgrep cn1
        tabch -d node=cn1 nope1 hosts nope2
        chtab -d litefile.image=img litefile
        gettab node=cn1 hosts.ip
        chtab --dry-run node=cn1 ipmi.password=secret
    ";
    nodels: "
        nodels
        nodels -S
        nodels compute
        nodels cn1 hosts.ip
        nodels compute hosts.ip
        nodels compute -H nodehm.mgt
        nodels compute -b nodehm.mgt hosts.ip
        nodels compute nodehm
        nodels compute mgt==ipmi
        nodels compute hosts.ip=~\\.1$
        nodels compute hosts.ip!~\\.1$ hosts.ip
        nodels compute groups==x
        nodels cn1 nope.ip
        nodels cn1 hosts.nope mgt
        nodels cn9
        nodels cn1 mgt==a mgt==b
        nodels --json
        nodels compute --json -b mgt==ipmi hosts.ip mac.mac mgt
        chtab node=cn1,switch=s1,port=1 switch.vlan=1
        chtab node=cn1,switch=s1,port=2 switch.vlan=2
        nodels cn1 --json groups switch.port
    ";
    names: "
        mkdef all groups=x
        chtab node=all nodelist.groups=x
        mkdef -o -n groups=x
        mkdef ../x groups=x
        mkdef -t group -o ../x members=cn1
        mkdef -t group -o -n members=cn1
        mkdef -t group -o all2 members=cn1
        mkdef -t group -o cn1 members=cn1
        mkdef -t group -o cn1-cn3 members=cn1
        mkdef -t group -o cn[1-3] members=cn1
        nodeadd ../x groups=x
        nodeadd -n groups=x
        nodeadd all groups=x
        nodeadd all3 groups=../x
        chtab node=../x hosts.ip=10.0.0.77
        chtab node=-n nodelist.groups=x
        chtab node='a b' nodehm.mgt=ipmi
        chtab groupname=../x nodegroup.grouptype=static
        nodech cn1 groups,=../x,-n,cn1-cn3
        tabrestore -a nodelist.csv <<< #node,groups\\n../x,all\\n
        tabrestore -a hosts.csv <<< \u{feff}#node,ip,node\\ncn9,10.0.0.1,cn9\\n
    ";
    nodech: "
        nodech cn1 nodehm.cons=ipmi groups,=a,b
        nodels cn1 nodehm.cons groups
        nodech cn1 groups^=a
        nodels cn1 groups
        nodech compute nodehm.mgt=
        nodels compute mgt
        nodech -d compute nodehm
        nodels compute mgt
        nodech compute hosts.ip==10.0.0.1 nodehm.mgt==x nodehm.power=y
        nodech compute hosts.ip==10.0.0.1 nodehm.power==@y
        nodech cn1 nope.x=1
        nodech cn1 word
        nodech -d cn1 hosts.ip
        nodech -d cn1 nope
        nodech cn9 groups=x
        nodech --dry-run cn1 nodehm.mgt=openbmc
    ";
    nodeadd: "
        nodeadd n1 groups=all nodehm.mgt=ipmi
        nodels all
        nodeadd N1 groups=all
        nodeadd bad/name groups=all
        nodeadd n5
        nodeadd n5 nope.x=1
        noderm n1
        nodels
        noderm
        noderm n99
    ";
    nodeset: "
        nodeset compute osimage=img
        nodeset compute stat
        nodels cn1 nodetype.provmethod nodetype.os chain.currstate
        nodeset cn1 osimage=nope
        nodeset cn1 stat
        nodeset cn1 boot
        nodeset cn1 shell,osimage=img
        nodels cn1 chain.currchain
        nodeset cn1 next
        nodeset cn1 offline
        nodeset cn1 bogus
        nodeset cn1 netboot
        nodeset cn1
        nodeset cn1 -a boot
        nodeset cn9 boot
        nodeset cn2 osimage
        nodeset --dry-run cn2 shell
    ";
    dhcp: "
        chtab node=cn1 hosts.otherinterfaces=-eth1:10.0.0.201
        chdef cn1 mac=52:54:00:00:00:01|52:54:00:00:00:11!cn1-eth1|52:54:00:00:00:12!nobody|52:54:00:00:00:13!*NOIP*
        makedhcp cn1
        makedhcp -q cn1
        makedhcp -q --json cn1
        explain cn1
        chtab key=dhcpinterfaces site.value=nosuch9
        makedhcp -q cn1
        makedhcp -n
        makedhcp -n compute
        nodeset cn1 boot
        nodeset cn1 osimage=img
        chtab key=dhcpinterfaces site.value=
        chtab key=proxydhcp site.value=nosuchnet,ALL
        makedhcp -q cn1
        chtab key=nameservers site.value=foo,<xcatmaster>,fd00::1
        chtab key=dhcplease site.value=5
        chdef cn2 mac=01:00:5e:00:00:01
        chdef cn2 mac=00:00:00:00:00:00
        leases compute
        leases nobody
        events compute
        events nobody
    ";
    makedhcp: "
        makedhcp cn1
        makedhcp -q cn1
        makedhcp -q cn2
        makedhcp -q --json cn1,cn2
        makedhcp --json cn1
        makedhcp cn2
        makedhcp -a
        makedhcp -n
        makedhcp -d cn1
        makedhcp cn1 -s next-server=10.0.0.9
        makedhcp -n -a
        makedhcp -q -a
        makedhcp
        makedhcp cn9
        chtab node=cn2 mac.mac=nonsense
        makedhcp cn2
        chtab node=cn2 mac.mac=80:00:02:08:fe:80:00:00:00:00:00:00:f4:52:14:03:00:aa:bb:cc
        makedhcp cn2
        makedhcp -q cn2
        chtab node=cn1 mac.mac=f4:52:14:03:00:aa:bb:cc!cn1-ib
        chtab node=cn2 hosts.ip=192.0.2.7
        makedhcp -q cn2
        chtab node=cn1 noderes.netboot=petitboot noderes.xcatmaster=sn9
        makedhcp cn1
        chtab node=cn1 noderes.tftpserver=<xcatmaster> noderes.xcatmaster=cn2
        makedhcp cn1
        chtab node=cn1 noderes.tftpserver=sn9
        makedhcp cn1
    ";
    addresses: "
        chtab node=compute hosts.ip=|cn1|10.0.0.9|
        chtab node=compute 'hosts.ip=|\\D+(\\d+)|10.0.0.($1*200)|'
        chtab node=compute mac.mac=|52:54:00:00:00:($1)|
        chtab node=cn2 hosts.ip=127.0.0.1
        mkdef mn1 groups=__mgmtnode ip=127.0.0.2
        chtab node=cn2 hosts.ip=192.0.2.7
        nodeset cn2 osimage=img
        nodeset cn2 boot
        explain cn2
        makedhcp -q cn2
    ";
    lsdef: "
        lsdef
        lsdef -S
        lsdef cn1
        lsdef cn1,cn9
        lsdef cn9
        lsdef -t node -l
        lsdef -s compute
        lsdef compute -i ip,mgt,serialport
        lsdef compute -i ip,nope
        lsdef compute -i ip,mgt -c
        lsdef -c
        lsdef cn1 -z
        lsdef cn1 -V
        lsdef -t osimage
        lsdef -t osimage img
        lsdef -t osimage img -V
        lsdef -t osimage nope
        lsdef -t site -l
        lsdef -t group
        lsdef -t group compute
        lsdef -t node,group compute
        lsdef -t network
        lsdef -t networks -l
        lsdef -t policy
        lsdef -w mgt==ipmi
        lsdef -t node -w mgt=~op
        lsdef -w nonsense
        lsdef -w mtg==ipmi
        lsdef -w bogus==1
        lsdef -w mgt=~(
        lsdef -w node==cn1 -i mgt
        lsdef -l -s cn1
        lsdef -x cn1
        lsdef a b
        lsdef --json cn1
        lsdef --template
        lsdef -t osimage --template
        lsdef --template switch-template,diskless-template
        lsdef --template nope
        lsdef -t site -h
        lsdef -t node -z --template switch-template
    ";
    mkdef: "
        mkdef
        mkdef -t node n1 groups=all,new mgt=ipmi bmc=10.1.0.9 mac=52:54:00:00:01:01 ip=10.0.1.1
        lsdef n1
        mkdef -t node n1 groups=all
        mkdef -f -t node n1 groups=other
        lsdef n1
        mkdef n[2-4] groups=all
        lsdef n2,n3,n4 -i groups -c
        mkdef -t node x1
        mkdef -t node x1 mgt=ipmi
        mkdef -t node x1 groups=all nope=1
        lsdef x1
        mkdef -t node x.y groups=all
        mkdef -t node 'x y' groups=all
        mkdef -t node x1 groups=all bmc=10.0.0.1
        mkdef -t nope x1 groups=all
        mkdef -t osimage -o im2 provmethod=statelite osvers=d12 osarch=x86_64 profile=p imagetype=linux rootimgdir=/r
        lsdef -t osimage im2
        mkdef -t network -o net1 net=10.5.0.0
        mkdef -t network -o net1 net=10.5.0.0 mask=255.255.0.0
        mkdef -t network -o net2 net=10.5.0.0 mask=255.255.0.0
        mkdef -t network -o net3 net=10.6.0.0 mask=255.255.0.0
        chdef -t network -o net3 net=10.5.0.0
        chdef -t network -o net3 mtu=9000
        mkdef -t group g1 members=cn1
        mkdef -t group g2 -w mgt==ipmi
        mkdef -t group -d g4 -w mtg==ipmi
        mkdef -t group -d g3 -w mgt==ipmi
        mkdef -t group -d g4
        mkdef -t group g5
        mkdef -t group g6 members=nope
        lsdef -t group g1,g2,g3,g5
        lsdef cn1 -i groups
        mkdef -p cn7 groups=all
        mkdef N7 groups=all
        mkdef --dry-run cn8 groups=all
        mkdef -V cn8 groups=all
        mkdef cn8 cn9 groups=all
        mkdef -t osimage imgy --template diskless-template osarch=x86_64 osvers=debian12 profile=io
        lsdef -t osimage imgy -z
        mkdef -h -t route
        mkdef -u debian12-x86_64-netboot-own
        lsdef -t osimage debian12-x86_64-netboot-own
        chdef -t osimage img nfsrootopts=ro,nolock
        chdef -t osimage img nfsrootopts=nolock,rw
        chtab imagename=img osimage.nfsrootopts=defaults
        mkdef c1 --template cec-template serial=1 mtm=2
        mkdef c1 --template cec-template serial=1 mtm=2 hcp=h1
        mkdef sw9 --template switch-template
        lsdef c1,sw9
    ";
    small_words: "
        chdef -t node cn1 -p usercomment=,,
        chdef -p cn1 servicenode=,,a,,b,
        lsdef cn1 -i servicenode
        chdef -z <<< cn1:\\n  objtype=node\\n  mgt=ipmi\\n  arch=x86_64\\ncn1:\\n  objtype=node\\n  mgt=openbmc\\n
        lsdef cn1 -i mgt,arch
        rmdef cn1 cn2
        chtab netname=p2 networks.net=10.9.0.0 networks.mask=255.255.0.0
        chtab 'netname=p;x' networks.net=10.8.0.0 networks.mask=255.255.0.0
        chtab node=cn1 nodetype.os=debian12 nodetype.arch=x86_64 nodetype.profile=compute
        nodeset cn1 netboot
        chtab imagename=debian12-x86_64-netboot-compute osimage.provmethod=netboot osimage.osvers=debian12 osimage.osarch=x86_64 osimage.profile=compute
        nodeset cn1,cn2 netboot
        nodeset cn1 netboot=debian12-x86_64-compute
        nodeset cn1 statelite
        nodels cn1 chain.currstate
        liteimg -o debian12 -a x86_64 -p compute
        liteimg -o debian12
    ";
    chdef: "
        chdef
        chdef cn1 arch=x86_64 netboot=xnba
        lsdef cn1 -i arch,netboot
        chdef cn1 nope=1 arch=y
        lsdef cn1 -i arch
        chdef compute arch=aarch64
        lsdef compute -i arch -c
        chdef -p cn1 groups=rack1
        chdef -m cn1 groups=all
        lsdef cn1 -i groups
        chdef -m cn1 groups=nope
        chdef -m cn1 primarynic=eth0
        chdef cn9 arch=x
        chdef cn9 groups=all arch=x
        chdef -m cn10 groups=all
        chdef cn1 bmc=10.0.0.5
        chdef cn1 arch=
        lsdef cn1 -i arch
        chdef -t site domain=other.cluster
        gettab key=domain site.value
        chdef -t site domain=
        gettab key=domain site.value
        chdef -t site master=10.0.0.250
        gettab key=master site.value
        mkdef -t site -f clustersite domain=third.cluster
        gettab -H key=master site.value
        gettab -H key=domain site.value
        chdef -t site master=
        gettab key=master site.value
        chdef -t node -o cn2 -n cn22
        lsdef cn22 -i groups
        chdef -t node -o cn2 -n cn22
        chdef cn1 nicips.eth0=1.1.1.1
        chdef cn1 nicips.ib0=2.2.2.2
        lsdef cn1 --nics
        chdef -t group g1 members=cn1,cn22
        chdef -t group -p g1 members=cn1
        chdef -t group -m g1 members=cn22
        lsdef -t group g1
        chdef -f cn1 arch=x
        chdef -V cn1 arch=z
        chdef --dry-run cn1 arch=q
        chdef -t osimage img provmethod=statelite
        chdef -t osimage imgx provmethod=statelite
    ";
    rmdef: "
        rmdef cn1
        lsdef
        rmdef cn1
        rmdef cn2,cn9
        rmdef
        rmdef -a
        rmdef -t node -a
        rmdef -a cn1
        rmdef -t osimage img
        lsdef -t osimage
        rmdef -t group compute
        rmdef -t site clustersite
        rmdef cn2 x=y
        rmdef -V sw1
    ";
    imagedef: "
        chtab key=system passwd.username=root passwd.password=hush
        imagedef img
        imagedef nope
        imagedef
    ";
    values: "
        chtab node=cn1 noderes.netboot=banana
        chdef cn1 netboot=banana
        nodech cn1 noderes.netboot=banana
        chdef -t site master=banana
        chtab key=httpport site.value=foo
        chtab image=img litefile.file=/x litefile.options=bogus
        tabch image=img litefile.file=/x litefile.options=ro,persistent
        chtab image=img litefile.file=/x/ litefile.options=con
        tabrestore litefile.csv <<< #image,file,options,comments,disable\\n\"img\",\"/x\",\"bogus\",,\\n
        chtab node=cn2 hosts.ip='|n(\\d+|10.0.0.($1)|'
        chdef -t network prov dynamicrange=10.0.0.9-10.0.0.1
        chdef -t network prov dynamicrange=10.0.0.1-10.0.0.9
        chdef -t network prov dynamicrange=10.0.1.1-10.0.1.9
        chdef cn1 ip=10.0.1.5
        mkdef -t node cn5 groups=all ip=10.0.1.6
        chdef -t network prov gateway=10.9.9.9
        mkdef -t network again net=10.0.0.0 mask=/16
        mkdef -t node cn102 groups=x ip=10.0.0.102
        chtab node=x hosts.ip=10.0.0.77
        mkdef -t node y1,y2 groups=x
        tabdump litefile
        tabch litefile.image=img,litefile.file=/x litefile.options=ro
        tabch litefile.image=img litefile.file=/x litefile.options=persistent
        tabch litefile.image=img litefile.file=/y litefile.options=tmpfs
        tabdump litefile
        chtab node=cn2 noderes.netboot=yaboot
        nodeset cn2 osimage=img
        explain cn2
        tabrestore --for=restorexCATdb all <<< hosts.csv 22\\n#node,ip\\ncn1,10.0.0.9\\nlitefile.csv 33\\n#image,file,options\\nimg,/z,bogus\\n
        tabrestore --for=restorexCATdb all <<< hosts.csv 22\\n#node,ip\\ncn1,10.0.0.9\\nlitefile.csv 30\\n#image,file,options\\nimg,/z,ro\\n
        undo
        gettab node=cn1 hosts.ip
        tabdump litefile
    ";
    conflicts: "
        nodech cn1,cn2 nodetype.provmethod=img
        chtab image=img litefile.file=/var/ litefile.options=persistent --dry-run
        chtab image=img litefile.file=/var/ litefile.options=persistent
        chtab image=img litefile.file=/opt/ litefile.options=ro
        chtab image=img,file=/opt/a litefile.options=tmpfs
        chtab image=img,file=/opt/b litefile.options=ro
        chtab -d image=img,file=/opt/a litefile
        chtab -d image=img,file=/opt/b litefile
        chdef -t osimage img partitionfile=/nonexistent/layout
        chdef -t osimage img partitionfile=
        chtab node=compute statelite.statemnt=10.1.0.1:/a
        chtab node=all statelite.statemnt=10.1.0.1:/b
        chtab image=img,file=/var/log/ litefile.options=tmpfs
        chtab image=img,file=/var/log/ litefile.options=persistent
        nodeadd cn3 groups=compute nodetype.provmethod=img
        chtab node=cn1 statelite.statemnt=/nosuch/store
        chtab priority=1 litetree.directory=10.1.0.1:/
        explain cn1
    ";
    policy: "
        bob$ nodels cn1
        bob$ nodels cn1,cn2
        bob$ nodels
        bob$ tabdump site
        @10.0.0.1$ tabdump site
        chtab priority=3 policy.name=bob policy.commands=tabdump policy.rule=trusted
        bob$ tabdump -w key==domain site
        bob$ tabdump -f /tmp/never site
        chtab key=auditskipcmds site.value=nodels
        bob$ nodels cn1
        chdef -t node cn1 mgt=ipmi bmcpassword=hush
        gettab command=chdef auditlog.userid auditlog.args auditlog.status auditlog.clienttype
        gettab command=nodels auditlog.userid
        nodech cn1 ipmi.password=hush1
        chtab priority=7 policy.name=bob policy.commands=chdef,mkdef,lsdef policy.noderange=cn[2-4] policy.rule=allow
        bob$ mkdef -t node -o cn2 -f groups=all --template cn1
        bob$ mkdef -t node -o cn2 -f groups=all --template=cn1
        bob$ mkdef -t node -o cn2 -f groups=all --template sw1
        bob$ chdef -t node -o cn2 -n newname
        bob$ chdef -t node -o cn2 -ncn1
        bob$ chdef -t node -ocn1 cn2 comments=x
        bob$ chdef -t node cn2,cn9 groups=all
        bob$ chdef -t group -o mine members=cn1
        bob$ lsdef -ocn1 cn2 -i bmcpassword
        bob$ lsdef cn2 -i groups
        bob$ mkdef -t node -o cn4 groups=all
        bob$ chdef -t node -o cn4 -n cn3
        bob$ lsdef cn3 -i groups
        noderange ^/proc/kmsg
        nodels ^/proc/kmsg
        nodels ^/no/such/file
    ";
    stanzas: "
        mkdef -z <<< n1:\\n    objtype=node\\n    groups=all,z\\n    mgt=ipmi\\n
        lsdef n1
        chdef -z <<< n1:\\n  objtype=node\\n  arch=x86_64\\n
        lsdef n1 -z
        mkdef -z <<< n2:\\n groups=all\\n
        mkdef -z <<< nonsense\\n
        mkdef -z -t node <<< n1:\\n
        mkdef -z <<< g:\\n objtype=group\\n members=n3\\nn3:\\n objtype=node\\n groups=all\\n
        lsdef n3 -i groups
    ";
    tabrestore: "
        tabrestore site.csv <<< #key,value\\n\"domain\",\"new\"\\n\"auditskipcmds\",\"ALL\"\\n
        tabdump site
        tabrestore -a site.csv <<< #key,value\\n\"x\",\"a\"\"b\\nc\"\\n
        tabdump -w key==x site
        tabrestore site.csv <<< key,value\\n
        tabrestore site.csv <<< #key,nope\\na,b\\n
        tabrestore site.csv <<< #key,value\\na,b,c\\n\\nx\"y\\n
        tabrestore -a site.csv <<< #key,value\\nx,1\\n
        tabrestore nope.csv <<< #key\\n
        tabdump -w key==domain site
    ";
    undo: "
        chdef cn1 arch=x86_64
        undo --dry-run
        undo
        lsdef cn1 -i arch
        undo 9999
        chdef cn1 arch=a
        chdef cn1 arch=b
        undo 4
        explain cn1
        explain --json cn2
        leases
        leases --json
    ";
    groups: "
        nodegrpch compute nodehm.mgt=openbmc
        nodels compute mgt
        nodech cn1 nodehm.mgt=ipmi
        nodegrpch compute nodehm.mgt=hmc
        nodels compute -b mgt
        nodegrpch compute nodehm.mgt=
        nodels compute mgt
        nodegrpch compute groups=x
        nodegrpch compute nodehm.mgt,=x
        nodepurge cn1
        nodels
        nodepurge cn1
        nodeadd q1-q3 groups=mg,all
        nodeadd q5 groups=all
        mkdef -f -t group -o mg members=q1,q5
        nodels mg
        mkdef --dry-run -f -t group -o mg members=q1,q5
        chdef --dry-run -t group mg -n ng
        chdef -t group mg -n ng
        nodels ng groups
        nodels mg
        lsdef -t group ng
    ";
    typos: "
        chtab image=imgg,file=/etc/motd litefile.options=ro
        chtab image=img,file=/etc/motd litefile.options=ro
        chtab image=ALL,file=/etc/motd litefile.options=ro
        chtab priority=1,image=mg litetree.directory=/srv/trees
        chdef -t site domainn=x
        chdef -t site domain=x
        chdef -t site ourownkey=x
        chdef -t osimage -o img pkglist=/nonexistent,/etc/hostname postinstall='/nonexist arg' exlist=/etc/hostname
        chdef -t osimage -o img exlist=/nonexistent --dry-run
    ";
    next_boot: "
        chtab node=all nodetype.provmethod=img
        chtab node=all 'chain.currstate=statelite debian12-x86_64-compute'
        chtab image=img,file=/srv/ litefile.options=persistent
        chtab node=all statelite.statemnt=/tmp
        chtab node=cn1 nodelist.status=booted
        chtab node=cn2 nodelist.status=booted
        chtab image=img,file=/opt/ litefile.options=tmpfs
        chtab image=img,file=/etc/motd litefile.options=ro
        chtab image=img,file=/etc/motd litefile.options=persistent
        chtab -d image=img,file=/srv/ litefile
        chtab priority=1,image=img litetree.directory=/srv/trees
        chtab priority=1,image=img litetree.directory=/srv/other
        chtab node=all statelite.statemnt=/var/tmp
        chtab node=cn2 nodelist.status=netbooting
        chtab priority=1,image=img litetree.directory=far:/srv/other
    ";
    statelite: "
        chtab image=img litefile.file=/etc/hosts litefile.options=persistent
        chtab image=ALL litefile.file=/var/log/
        chtab priority=1 litetree.directory='10.1.0.1:/state/$node' litetree.mntopts=soft
        chtab node=compute statelite.statemnt=10.1.0.1:/nodedata
        nodech cn1 nodetype.provmethod=img
        litefile cn1
        litetree cn1
        ilitefile img
        ilitefile nope
        lslite cn1
        lslite -i img
        lslite --json cn1
        lslite --json -i img
        lslite -i nope
        lslite
        @10.0.0.1$ litefile
        @10.0.0.1$ litefile cn2
        @10.9.9.9$ litetree
        litefile
        litefile --json cn1
        litetree --json cn1
        ilitefile --json img
        chtab priority=2 litetree.directory='#CMD=hostname#'
        chtab node=cn1 statelite.statemnt=nohost:relpath
        chtab litefile.file=/x2 litefile.options=tmpfs
        chtab hosts.ip=1.2.3.4
        chtab priority=3 litetree.directory='10.1.0.1:$site.nosuch'
        litetree cn1
        litetree --json cn1
        chtab node=cn1 statelite.statemnt='10.1.0.1:$site.nosuch'
        lslite cn1
        chdef -t osimage img rootimgdir=/srv/elsewhere
        rmimage img
        chdef -t osimage img profile=../../../etc
        chdef -t osimage newimg provmethod=netboot
        lsdef -t osimage newimg
        gettab node=cn1 ip
        log nosuch
        nodeset cn1 bogus
        nodeset cn1 osimage=nope
        nodeset cn1 osimage=newimgs
        chtab node=compute 'hosts.ip=|10.9.4.($1+302)|'
        makehosts --dry-run cn2
        lsdef -t bogus
        chdef cn1 provmethd=x
        nodeadd n[a-c] groups=all
        nodeadd b2 groups=
        nodeadd b2 groups=compute,all,
    ";
    destiny: "
        @10.9.9.9$ getdestiny
        @10.0.0.1$ getdestiny
        nodels cn1 nodelist.status
        chdef cn1 chain=shell,osimage=img,standby
        @10.0.0.1$ nextdestiny
        @10.0.0.1$ nextdestiny
        @10.0.0.1$ getdestiny
        nodels cn1 nodelist.status chain.currchain
        @10.0.0.1$ nextdestiny
        getdestiny cn1
    ";
    excludenodes: "
        chtab key=excludenodes site.value=cn2
        noderange all
        lsdef all -i mgt -c
        chdef all usercomment=x --dry-run
        rmdef all --dry-run
        rmdef cn2 --dry-run
        chdef cn1,cn2 usercomment=x --dry-run
        nodels all,-^/nowhere/typo
        noderm cn1,-^/nowhere/typo --dry-run
        nodels /cn[1
        nodels cn[1
        nodels /cn{1}1
    ";
    small_refusals: "
        nodech cn1 nodelist.node=y9
        nodeadd y1 groups=all nodelist.node=zz
        chtab node=cn1 nodelist.node=q9
        chtab foo site.value=3
        chtab -v
        lsdef -v
        tabch -v
        rmdef -d g1
        rmdef -z
        tabprune auditlog -p 101
        tabprune auditlog -p -5
        @10.0.0.1$ lsdef mgt!=x0
    ";
    nothing_named: "
        nodech '' nodehm.mgt=ipmi nodehm.power=foo
        nodech '' groups!=q nodehm.power=foo
        noderm '' cn2
        nodeset '' cn2 boot
        nodels '' groups
        nodels ''
        tabdump nodehm
    ";
    makehosts: "
        chtab node=cn1 hosts.hostnames='evil $(id)'
        makehosts --dry-run cn1
        tabch node=cn1 hosts.hostnames=
        makehosts --dry-run cn1
        makehosts
        makehosts -l --dry-run -n cn2
        makehosts -d cn1
        makehosts --dry-run cn2
        makehosts cn9
        makehosts -m
        chtab node=compute 'nics.nicips=ib0!|\\D+(\\d+)|10.8.0.($1+20)|' nics.nicaliases=ib0!fast
        chtab net=10.8.0.0,mask=/16 networks.netname=ib networks.domain=ib.cluster
        makehosts --dry-run cn1
    ";
    images: "
        rmimage nope
        rmimage img
        rmimage --xcatdef img
        lsdef -t osimage
        liteimg img
    ";
    notify: "
        regnotif /bin/true nodelist,hosts -o a,d
        tabdump notification
        regnotif true nodelist
        regnotif /nope nodelist
        regnotif /etc/passwd nodelist
        regnotif /bin/true nope
        regnotif /bin/true nodelist -o x
        unregnotif /bin/true
        unregnotif /bin/true
    ";
    xcatconfig: "
        xcatconfig
        xcatconfig -k
        xcatconfig -i --installdir ../x
        xcatconfig --dry-run --installdir /nonexistent/install --tftpdir=/nonexistent/tftp
        xcatconfig --dry-run -c
        xcatconfig -u
        tabdump -w priority==1.2 policy
        gettab key=domain site.value
        xcatconfig --dry-run -u
        chtab key=maxssh site.value=888
        xcatconfig -u
        gettab key=maxssh site.value
        xcatconfig -d
        gettab key=maxssh site.value
        gettab key=domain site.value
        xcatconfig -m
        lsdef mn1 -i groups
        makenetworks --nope
    ";
    others: "
        tabgrep cn1
        tabgrep cn2
        lsxcatd -t
        lsxcatd -d
        lsxcatd
        noderange compute
        noderange cn1,nope
        noderange --json compute
        tabprune auditlog -a
        tabprune site -n 1
        tabprune auditlog
        tabprune
        tabprune auditlog -a -n 1
        tabprune -a networks
        tabdump networks
    ";
}

/// What the clients of xCAT put on the wire (`xcatclient`, `xcatclientnnr`, `xcatDBcmds`,
/// `tabrestore`), and the command line that must give the same.
#[test]
fn requests_of_other_clients() {
    use crate::testbed::Bed;
    for (elements, line, stdin) in [
        (
            "<command>nodels</command><noderange>cn1-cn2</noderange><arg>groups</arg>",
            "nodels cn1-cn2 groups",
            None,
        ),
        ("<command>nodels</command><arg>-S</arg><noderange>compute</noderange>", "nodels -S compute", None),
        ("<command>nodels</command><arg>cn1</arg><arg>groups</arg>", "nodels cn1 groups", None),
        ("<command>nodels</command><node>cn1</node><node>cn2</node>", "nodels cn1,cn2", None),
        ("<command>tabgrep</command><noderange>cn1</noderange>", "tabgrep cn1", None),
        ("<command>tabgrep</command><arg>cn1</arg>", "tabgrep cn1", None),
        // They send the element for no word at all, too.
        ("<command>nodels</command><noderange></noderange>", "nodels", None),
        ("<command>nodels</command><noderange></noderange><arg>-S</arg>", "nodels -S", None),
        (
            "<command>chdef</command><noderange/><arg>-t</arg><arg>site</arg><arg>x=1</arg>",
            "chdef -t site x=1",
            None,
        ),
        ("<command>lsdef</command><arg>cn1</arg><noderange>cn1</noderange>", "lsdef cn1", None),
        ("<command>lsdef</command><arg>-t</arg><arg>site</arg><arg>-l</arg>", "lsdef -t site -l", None),
        (
            "<arg>cn1</arg><arg>-p</arg><arg>groups=odd</arg><command>chdef</command><noderange>cn1</noderange>",
            "chdef cn1 -p groups=odd",
            None,
        ),
        (
            "<arg>-t</arg><arg>node</arg><arg>-o</arg><arg>n9</arg><arg>groups=all</arg><command>mkdef</command>",
            "mkdef -t node -o n9 groups=all",
            None,
        ),
        (
            "<arg>-z</arg><command>mkdef</command><stdin>n9:\n  objtype=node\n  groups=a\n</stdin>",
            "mkdef -z",
            Some("n9:\n  objtype=node\n  groups=a\n"),
        ),
        (
            "<addrows>yes</addrows><command>tabrestore</command><data>#netname,net,mask\n</data>\
             <data>&quot;n&quot;,&quot;10.0.0.0&quot;,&quot;255.0.0.0&quot;\n</data><table>networks</table>",
            "tabrestore -a networks.csv",
            Some("#netname,net,mask\n\"n\",\"10.0.0.0\",\"255.0.0.0\"\n"),
        ),
        (
            "<command>gettab</command><arg>key=domain</arg><arg>site.value</arg>",
            "gettab key=domain site.value",
            None,
        ),
    ] {
        let (theirs, ours) = (Bed::new(CLUSTER), Bed::new(CLUSTER));
        let answers = (theirs.run_xml(elements), ours.run_with(line, stdin));
        assert_eq!(answers.0, answers.1, "{elements}");
        assert!(!answers.1.contains("rc="), "{line}: {}", answers.1);
        for table in ["nodelist", "networks"] {
            assert_eq!(
                theirs.run(&format!("tabdump {table}")),
                ours.run(&format!("tabdump {table}")),
                "{elements}"
            );
        }
    }
}

/// A rule about some nodes holds for object commands too, whichever client names the nodes in which way.
#[test]
fn policy_sees_the_nodes_of_object_commands() {
    use crate::testbed::Bed;
    let bed = Bed::new(&format!(
        "{CLUSTER}\npolicy priority=6 name=eve commands=lsdef,chdef noderange=cn1 rule=allow"
    ));
    for (line, allowed) in [
        ("lsdef cn1 -i groups", true),
        ("lsdef -t node -o cn1 -i groups", true),
        ("lsdef -i groups cn2", false),
        ("chdef cn1 usercomment=x", true),
        ("chdef -t node -o cn1,cn2 usercomment=x", false),
        ("lsdef", false),
        // Objects of other types are not nodes, whatever they are called.
        ("lsdef -t policy -o cn1", false),
        ("chdef -t policy -o cn1 name=eve rule=allow", false),
        ("chdef -t site cn1 master=192.0.2.9", false),
        ("chdef -t node,policy -o cn1 usercomment=x", false),
        ("lsdef -a cn1", false),
    ] {
        let answer = bed.run_as(line, None, Some("eve"), None);
        assert_eq!(!answer.contains("Permission denied"), allowed, "{line}: {answer}");
    }
    for (stanzas, allowed) in [
        ("cn1:\n  objtype=node\n  usercomment=y\n", true),
        ("cn2:\n  objtype=node\n  usercomment=y\n", false),
        ("7:\n  objtype=policy\n  name=eve\n  rule=allow\n", false),
    ] {
        let answer = bed.run_as("chdef -z", Some(stanzas), Some("eve"), None);
        assert_eq!(!answer.contains("Permission denied"), allowed, "{stanzas}: {answer}");
    }
}

/// A client may put a noderange into any request; a rule about nodes does not open commands that do not keep
/// to it.
#[test]
fn a_noderange_does_not_open_whole_tables() {
    use crate::testbed::Bed;
    let bed = Bed::new(&format!("{CLUSTER}\npolicy priority=6 name=eve noderange=cn1 rule=allow"));
    for (elements, allowed) in [
        ("<command>nodels</command><noderange>cn1</noderange>", true),
        ("<command>tabdump</command><noderange>cn1</noderange><arg>passwd</arg>", false),
        (
            "<command>tabch</command><noderange>cn1</noderange><arg>priority=1</arg><arg>policy.name=eve</arg>",
            false,
        ),
        ("<command>getAllEntries</command><noderange>cn1</noderange><table>passwd</table>", false),
    ] {
        let answer = bed.xml_for(elements, Some("eve"), None);
        assert_eq!(!answer.contains("Permission denied"), allowed, "{elements}: {answer}");
    }
}

/// Root is told which rule denied a request and how to get in again; others are told nothing of the policy.
#[test]
fn a_denial_explains_itself_to_root() {
    use crate::testbed::Bed;
    let bed =
        Bed::new("policy priority=0.5 commands=nodels rule=deny\npolicy priority=1 name=root rule=allow");
    let told = bed.run("nodels");
    assert!(told.contains("policy rule 0.5 denies it. If root is locked out, `dawn init --data /"), "{told}");
    for user in [Some("bob"), None] {
        let told = bed.run_as("nodels", None, user, Some("10.0.0.9"));
        assert_eq!(told, "! Error: [mn1]: Permission denied for request\nrc=1\n");
    }
}

/// Users and nodes are recorded; anyone who can send packets cannot fill the log.
#[test]
fn commands_of_strangers_are_not_recorded() {
    use crate::testbed::Bed;
    let bed = Bed::logged(&format!("{CLUSTER}\npolicy priority=4 commands=lsxcatd rule=allow"));
    bed.run_as("lsxcatd -v", None, None, Some("10.9.9.9"));
    assert!(!bed.directory.path().join("commands.log").exists());
    bed.run_as("lsxcatd -v", None, None, Some("10.0.0.1"));
    let forged = "<command>lsxcatd</command><clienttype>cli\n[Request] forged</clienttype><arg>-t</arg>";
    bed.xml_for(forged, Some("root"), None);
    let text = std::fs::read_to_string(bed.directory.path().join("commands.log")).expect("log");
    let requests: Vec<&str> = text.lines().filter(|line| line.starts_with("[Request]")).collect();
    assert_eq!(requests, ["[Request]    lsxcatd -v", "[Request]    lsxcatd -t"], "{text}");
}

/// Whatever a node says, an administrator's change stays the one that undo takes back, and the node's row
/// stays small.
#[test]
fn reports_of_nodes_are_bounded() {
    use crate::testbed::Bed;
    use dawn_xcatd::node_status::{NodeReport, NodeReports};
    let bed = Bed::new(CLUSTER);
    bed.run("nodech cn1 groups,=mark");
    for round in 0..1500 {
        let words = ["failed", "booting", "failed", "synced", "failed"];
        bed.daemon.report("cn1", NodeReport::Status(words.map(str::to_owned).to_vec()));
        let apps = [(format!("app{round}"), "up".to_owned()), ("x".repeat(4000), "up".to_owned())];
        bed.daemon.report("cn1", NodeReport::AppStatus(apps.to_vec()));
    }
    let events = bed.run("tabdump eventlog");
    assert_eq!(events.lines().count(), 2, "{events}");
    let status = bed.run("nodels cn1 nodelist.appstatus");
    assert!(status.len() < 4200 && status.contains("app1499=up"), "{status}");
    let undone = bed.run("undo");
    assert!(undone.contains("nodech cn1 groups,=mark"), "{undone}");
}

/// Requests that programs (as root) and nodes (by address, without certificate) send, and the XML they get.
#[test]
fn requests_of_programs_and_nodes() {
    use crate::testbed::Bed;
    use dawn_xcatd::node_status::NodeReport;
    let nodes =
        "getpostscript,getcredentials,getbmcconfig,getadapter,getpartition,syncfiles,noderange,getdestiny";
    let bed = Bed::new(&format!(
        "{CLUSTER}
        policy priority=4 commands={nodes} rule=allow
        site key=snmpc value=hush
        site key=bad;key value=x
        site key=odd value=unknown
        site key=consoleservice value='it;$(reboot)`x`'
        postscripts node=xcatdefaults postscripts=syslog,remoteshell postbootscripts=otherpkgs
        postscripts node=cn1 postscripts='syslog,confignics  -s'
        noderes node=cn1 routenames='r1,r-2,gone' servicenode=sn1 syslog=ignore
        routes routename=r1 net=10.9.0.0 mask=255.255.0.0 gateway=10.0.0.254 ifname=eth0
        routes routename=r-2 net=10.8.0.0
        nics node=cn1 nicips='eth0!10.0.0.1' nicdevices='bond0!eth0'
        switches switch=cn1 snmpversion=3 username=watch password=hush2
        zone zonename=red defaultzone=yes sshbetweennodes=yes
        cfgmgt node=cn1 cfgmgr=puppet cfgserver=mn1
        nodetype node=compute provmethod=img"
    ));
    let list = |name: &str, text: &str| {
        let path = bed.directory.path().join(name);
        std::fs::write(&path, text).expect("file");
        path.display().to_string()
    };
    let (own, others) = (
        list("os", "bash\n@server\n#ENV:A=1#\n-nano\n"),
        list("others", "one/tool\n#NEW_INSTALL_LIST#\n#ENV:B=2#\ntwo\n--old\n"),
    );
    let bad = list("bad", "good $(reboot)\n");
    bed.run(&format!(
        "chdef -t osimage img pkglist={own} otherpkglist={others},{bad} pkgdir=/install/os,/elsewhere \
         otherpkgdir=/install/post/other environvar='X=it;$(reboot),bad-name=1'"
    ));
    let layout = bed.directory.path().join("layout");
    std::fs::write(&layout, "enable=yes\n[disk]\ndev=/dev/sda\n").expect("file");
    bed.run(&format!("chdef -t osimage img partitionfile={} postscripts=setup", layout.display()));
    let mut text = String::new();
    for (who, elements) in [
        ("root", "<command>noderange</command><noderange>cn1-cn2,nope</noderange>"),
        ("root", "<command>extnoderange</command><noderange>cn2</noderange><arg>subgroups</arg>"),
        ("root", "<command>NodeRange</command><noderange>compute</noderange>"),
        ("root", "<command>NodeRange</command><noderange>nope</noderange>"),
        ("root", "<command>gennr</command><arg>x1-x3</arg>"),
        ("root", "<command>rnoderange</command><noderange>cn1,cn2,sw1</noderange>"),
        ("root", "<command>getAllEntries</command><table>networks</table>"),
        ("root", "<command>getAllEntries</command><table>zone</table>"),
        ("root", "<command>getAllEntries</command><table>nope</table>"),
        (
            "root",
            "<command>getNodesAttribs</command><table>hosts</table><noderange>cn1-cn2</noderange><attr>ip</attr>",
        ),
        (
            "root",
            "<command>getNodesAttribs</command><table>site</table><noderange>cn1</noderange><attr>ALL</attr>",
        ),
        (
            "root",
            "<command>getNodesAttribs</command><table>hosts</table><noderange>cn1</noderange><attr>nope</attr>",
        ),
        (
            "root",
            "<command>getTablesNodesAttribs</command><noderange>cn2</noderange><table><tablename>nodelist</tablename><attr>groups</attr></table><table><tablename>nodehm</tablename><attr>ALL</attr></table>",
        ),
        (
            "root",
            "<command>getTablesAllNodeAttribs</command><table><tablename>mac</tablename><attr>ALL</attr></table>",
        ),
        (
            "root",
            "<command>getTablesAllRowAttribs</command><table><tablename>osimage</tablename><attr>imagename</attr><attr>osvers</attr></table>",
        ),
        (
            "root",
            "<command>setNodesAttribs</command><noderange>cn1-cn2</noderange><arg><table><name>nodelist</name><attr><comments>a &amp; b</comments></attr></table><table><name>vpd</name><attr><serial>7</serial></attr></table></arg>",
        ),
        (
            "root",
            "<command>getNodesAttribs</command><table>vpd</table><noderange>cn2</noderange><attr>ALL</attr>",
        ),
        (
            "root",
            "<command>setAttribs</command><table>site</table><keys><key>domain</key></keys><attr><value>new.net</value></attr>",
        ),
        (
            "root",
            "<command>getAttribs</command><table>site</table><keys><key>domain</key></keys><attr>value</attr><attr>comments</attr>",
        ),
        ("root", "<command>getAttribs</command><table>site</table><keys></keys><attr>value</attr>"),
        (
            "root",
            "<command>delEntries</command><table><name>vpd</name><attr><node>cn2</node><serial>7</serial></attr></table>",
        ),
        ("root", "<command>getAllEntries</command><table>vpd</table>"),
        ("bob", "<command>getAllEntries</command><table>passwd</table>"),
        ("10.0.0.1", "<command>getAllEntries</command><table>passwd</table>"),
        ("10.0.0.1", "<command>getpostscript</command>"),
        ("10.0.0.1", "<command>getpostscript</command><arg>cn1</arg>"),
        ("10.0.0.1", "<command>getpostscript</command><arg>version2</arg>"),
        ("10.0.0.9", "<command>getpostscript</command>"),
        ("10.0.0.9", "<command>getpostscript</command><noderange>cn1</noderange>"),
        ("10.0.0.1", "<command>getcredentials</command><arg>ssh_root_key</arg>"),
        (
            "10.0.0.9",
            "<command>getcredentials</command><callback_port>300</callback_port><arg>ssh_root_key</arg>",
        ),
        ("10.0.0.9", "<command>getbmcconfig</command>"),
        ("10.0.0.1", "<command>getpartition</command>"),
        ("10.0.0.9", "<command>getpartition</command>"),
        (
            "10.0.0.1",
            "<command>getadapter</command><action>update</action><nic><interface>eth0</interface><mac>52:54:00:00:00:01</mac><linkstate>UP (ok)</linkstate><pcilocation>/0000:00:03.0</pcilocation><model>x,y=1|2</model></nic>",
        ),
        (
            "root",
            "<command>getAttribs</command><table>nics</table><keys><node>cn1</node></keys><attr>nicsadapter</attr>",
        ),
        ("10.0.0.1", "<command>getadapter</command>"),
        ("10.0.0.9", "<command>syncfiles</command>"),
        ("10.0.0.1", "<command>syncfiles</command><arg>-r</arg><arg>/usr/bin/rcp</arg>"),
        ("root", "<command>chtab</command><arg>imagename=img</arg><arg>osimage.synclists=/x</arg>"),
        ("10.0.0.1", "<command>syncfiles</command><arg>-r</arg><arg>/usr/bin/rcp</arg>"),
        ("10.0.0.1", "<command>remoteimmsetup</command>"),
        ("root", "<command>chtab</command><arg>key=nodeauthentication</arg><arg>site.value=1</arg>"),
        ("10.0.0.1", "<command>getpostscript</command>"),
        ("10.0.0.1", "<command>getdestiny</command>"),
        ("cn2", "<command>getdestiny</command><noderange>cn1</noderange>"),
        ("root", "<command>help</command><noderange>lsxcatd</noderange>"),
        ("root", "<command>help</command><noderange>rpower</noderange>"),
    ] {
        let (user, ip) = if who.contains('.') { (None, Some(who)) } else { (Some(who), None) };
        text.push_str(&format!("{who}: {elements}\n{}", bed.xml_for(elements, user, ip)));
    }
    expect_file!["tests/requests.txt"].assert_eq(&text);
    let script = |words: &str| bed.run_as(&format!("getpostscript{words}"), None, None, Some("10.0.0.1"));
    bed.run("chtab -d key=nodeauthentication site");
    assert!(
        script("").contains("MASTER=") && script("") == script(" cn1"),
        "the name of the node changes nothing"
    );
    bed.run("chtab key=nodeauthentication site.value=1");
    // The status port tells the same: nothing was copied, and scripts go to certificates only.
    let report = |report| dawn_xcatd::node_status::NodeReports::report(&bed.daemon, "cn1", report);
    assert!(report(NodeReport::Syncfiles).concat().starts_with("syncfiles failed: nothing was copied"));
    assert_eq!(report(NodeReport::GetPostscript).len(), 2);
}

#[test]
fn bundle_out_and_in() {
    use crate::testbed::Bed;
    let bed = Bed::new(CLUSTER);
    let top = bed.directory.path().to_string_lossy().into_owned();
    let directory = format!("{top}/install/netboot/debian12/x86_64/compute");
    let write = |path: &str, text: &str| {
        std::fs::create_dir_all(std::path::Path::new(path).parent().expect("parent")).expect("directory");
        std::fs::write(path, text).expect("file");
    };
    write(&format!("{directory}/kernel"), "kernel");
    write(&format!("{directory}/rootimg.sfs"), "root");
    write(&format!("{top}/install/custom/a.pkglist"), "bash\n");
    let mut text = String::new();
    let mut run = |line: &str| {
        let line = line.replace("TOP", &top);
        text.push_str(&format!("$ {line}\n{}", bed.run(&line)).replace(&top, "TOP"));
    };
    run("chtab key=installdir site.value=TOP/install");
    run(
        "chtab imagename=img linuximage.rootimgdir=TOP/install/netboot/debian12/x86_64/compute linuximage.pkglist=TOP/install/custom/a.pkglist",
    );
    run("chtab node=cn1 postscripts.postscripts='mine,nested/two 5'");
    write(&format!("{top}/install/postscripts/mine"), "#!/bin/sh\n");
    write(&format!("{top}/install/postscripts/nested/two"), "#!/bin/sh\n");
    run("imgexport img -p cn1");
    std::fs::remove_dir_all(format!("{top}/install/postscripts")).expect("scripts");
    run("chtab node=cn2 postscripts.postscripts=../secret");
    run("imgexport img -p cn2");
    run("imgexport img -p cn99");
    run("imgexport img -R root@other");
    run("imgimport img.tgz -R root@other");
    run("imgimport img.tgz -n");
    run("imgexport nope");
    run("rmdef -t osimage img");
    run("rmimage img");
    run("rmimage -o debian12 -a x86_64");
    run("rmimage -o debian12 -a x86_64 -p compute --dry-run");
    run("imgimport img.tgz");
    run("rmimage -o debian12 -a x86_64 -p compute --dry-run");
    run("lsdef -t osimage img");
    for script in ["mine", "nested/two"] {
        assert!(std::path::Path::new(&format!("{top}/install/postscripts/{script}")).is_file(), "{script}");
    }
    write(&format!("{top}/install/custom/a.pkglist"), "changed\n");
    run("imgimport --dry-run img.tgz -f big -p cn1");
    run("imgimport img.tgz -f big -p cn1");
    run("lsdef -t osimage");
    run("lsdef cn1 -i provmethod,profile");
    run("imgimport nope.tgz");
    run("imgimport install");
    run("imgimport /proc/kmsg");
    run("rmimage img");
    assert!(std::path::Path::new(&format!("{top}/install/custom/a.pkglist.ORIG")).exists());
    // A bundle for another install directory is refused.
    let bundle = format!("{top}/img.tgz");
    std::fs::rename(&bundle, format!("{top}/other.tgz")).expect("rename");
    run("chtab key=installdir site.value=TOP");
    run("chtab key=installdir site.value=TOP/elsewhere");
    std::fs::create_dir_all(format!("{top}/elsewhere")).expect("directory");
    run("imgimport other.tgz");
    expect_file!["tests/bundles.txt"].assert_eq(&text);
}

/// `-v` comes before operands are demanded, whatever the command; a command that needs some shows its usage.
#[test]
fn every_command_has_a_version_and_a_usage() {
    use dawn_bootd::command::{Kind, VERSION};
    let bed = crate::testbed::Bed::new(CLUSTER);
    for entry in bed.registry.all().iter().filter(|entry| entry.kind != Kind::Local) {
        let name = entry.name;
        // Of these -v is something else.
        let other = ["imgexport", "imgimport"].contains(&name);
        for word in ["-v", "--version", "-version"] {
            let text = bed.run(&format!("{name} {word}"));
            assert!(text.contains(VERSION) || other && word != "--version", "{name} {word}: {text}");
        }
        if (entry.clap)().get_positionals().any(|arg| arg.is_required_set()) {
            let text = bed.run(name);
            assert!(text.starts_with("Usage: ") && text.ends_with("\nrc=1\n"), "{name}: {text}");
            assert!(!text.contains("Error"), "{name}: {text}");
        }
    }
}

/// The history of a node outlives it, and a change that several rows of a restore made is taken back at once.
#[test]
fn a_node_that_is_gone_has_a_history() {
    let bed = crate::testbed::Bed::new(CLUSTER);
    bed.run("chdef cn1 arch=x86_64");
    bed.run("noderm cn2");
    let commands = |range: &str| -> Vec<String> {
        let text = bed.run(&format!("log -s {range}"));
        text.lines().filter_map(|line| line.split_once(": ").map(|(_, command)| command.to_owned())).collect()
    };
    assert_eq!(commands("cn2"), ["rows", "noderm cn2"]);
    assert_eq!(commands("cn1,cn2"), ["rows", "chdef cn1 arch=x86_64", "noderm cn2"]);
    assert_eq!(commands("never"), ["[mn1]: there is no node never, and no change of one is logged"]);
}

#[test]
fn images_completed_from_their_names() {
    let bed = crate::testbed::Bed::new(CLUSTER);
    let top = bed.directory.path().to_string_lossy().into_owned();
    let lists = bed.directory.path().join("install/custom/netboot/debian");
    std::fs::create_dir_all(&lists).expect("directory");
    for name in ["compute.pkglist", "compute.debian12.x86_64.pkglist", "compute.exlist", "other.postinstall"]
    {
        std::fs::write(lists.join(name), "").expect("file");
    }
    let mut text = String::new();
    let mut run = |line: &str| {
        let line = line.replace("TOP", &top);
        text.push_str(&format!("$ {line}\n{}", bed.run(&line)).replace(&top, "TOP"));
    };
    run("chtab key=installdir site.value=TOP/install");
    run("mkdef -u -t osimage debian12-x86_64-netboot-compute");
    run("lsdef -t osimage debian12-x86_64-netboot-compute");
    run("mkdef -u -t osimage custom");
    run("mkdef -u -t osimage custom osvers=debian12 osarch=x86_64 provmethod=install profile=compute");
    run("lsdef -t osimage custom");
    run("mkdef -u -t osimage out profile=../../compute osvers=debian12 osarch=x86_64 provmethod=netboot");
    run("chdef -u -t osimage img exlist=/mine");
    run("lsdef -t osimage img");
    run("chdef -u -t node cn1 arch=x86_64");
    expect_file!["tests/complete_images.txt"].assert_eq(&text);
}

/// The usual backup, `lsdef -a -z >f; mkdef -z -f <f`, changes nothing, whatever the order of its stanzas.
#[test]
fn a_backup_by_stanzas_changes_nothing() {
    let bed = crate::testbed::Bed::new(CLUSTER);
    bed.run("mkdef -t group -o tg members=cn2");
    bed.run("mkdef -t group -o dyn -d -w mgt==ipmi");
    bed.run("chdef cn1 usercomment='Köln €\n  second line: \"x\"\n'");
    bed.run("nodech cn2 nodelist.comments=' \"quoted\" '");
    let seen = || (bed.run("lsdef -a -z"), bed.run("tabdump nodelist"), bed.run("tabdump nodegroup"));
    let before = seen();
    let (comment, body) = before.0.split_once('\n').expect("lines");
    let mut stanzas: Vec<&str> = body.split("\n\n").collect();
    let count = stanzas.len();
    assert!(count > 5, "{body}");
    for turn in 0..count {
        let text = format!("{comment}\n{}\n", stanzas.join("\n\n"));
        let done = bed.run_with("mkdef -z -f", Some(&text));
        assert!(done.ends_with("have been created or modified.\n"), "{done}");
        assert_eq!(seen(), before, "turn {turn}");
        if turn % 2 == 0 { stanzas.reverse() } else { stanzas.rotate_left(1) }
    }
    for group in ["tg", "compute", "dyn"] {
        let text = bed.run(&format!("lsdef -z -t group {group}"));
        bed.run_with("mkdef -z -f", Some(&text));
        assert_eq!(seen(), before, "{group}");
    }
}

/// Text beyond ASCII is stored as it was given.
#[test]
fn text_is_utf8() {
    let bed = crate::testbed::Bed::new(CLUSTER);
    bed.run("chdef cn1 usercomment='Köln €'");
    assert_eq!(bed.run("lsdef cn1 -i usercomment -c"), "cn1: usercomment=Köln €\n");
    let table = bed.run("tabdump nodelist");
    bed.run_with("tabrestore nodelist.csv", Some(&table.replace("Köln", "Zürich")));
    assert_eq!(bed.run("nodels cn1 nodelist.comments"), "cn1: Zürich €\n");
    // What a client puts on the wire arrives.
    let request = dawn_xcatd::Request {
        command: "nodech".into(),
        args: vec!["nodelist.comments=Øl 🦀".into()],
        noderange: Some("cn1".into()),
        ..Default::default()
    };
    let text = request.to_xml();
    assert!(text.is_ascii(), "{text}");
    let element = text.trim().trim_start_matches("<xcatrequest>").trim_end_matches("</xcatrequest>");
    bed.run_xml(element);
    assert_eq!(bed.run("nodels cn1 nodelist.comments"), "cn1: Øl 🦀\n");
}
