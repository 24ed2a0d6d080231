//! Any text as a template: no panic, no password in the masked text, and no unbounded text.

use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn pieces_of_directives(which in 0u8..4, words in prop::collection::vec(word(), 0..40)) {
        let mut data = vec![which];
        data.extend(words.concat().as_bytes());
        dawn_deploy::fuzz::fuzz_template(&data);
    }
}

fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "#",
            "#INCLUDE:",
            "#INCLUDE_NOP:",
            "#INCLUDE_BASE64:",
            "#INCLUDE_PKGLIST:",
            "t.tmpl#",
            "list#",
            "short#",
            "#TABLE:",
            "passwd:key=system,username=root:password#",
            "#CRYPT:",
            "#ENV:",
            "XCATROOT#",
            "#XCAT_PARTITION_START#",
            "#XCAT_PARTITION_END#",
            "#XCA_PARTITION_SCRIPT#",
            "\n",
            "<!-- XCAT-PARTITION-START -->",
            "<!-- XCAT-PARTITION-END -->",
            "#INCLUDE_DEFAULT_PKGLIST#",
            "#INCLUDE_DEFAULT_PKGLIST_S#",
            "#HOSTNAME#",
            "$",
            "${",
            "}",
        ])
        .prop_map(str::to_owned),
        "[ -~ä]{0,6}",
    ]
}
