//! Any bytes: no panic, answers within their limits, nothing waits for ever.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use dawn_dns::fuzz::{fuzz_messages, sample};
use dawn_dns::name::DomainName;
use proptest::prelude::*;

/// Bytes that look enough like a question to get past the first checks.
fn question() -> impl Strategy<Value = Vec<u8>> {
    let name = prop_oneof![
        Just(b"\x02n1\x01c\0".to_vec()),
        Just(b"\x03www\x01c\0".to_vec()),
        Just(b"\x04many\x01c\0".to_vec()),
        Just(b"\x07example\x03org\0".to_vec()),
        Just(b"\x01c\0".to_vec()),
        proptest::collection::vec(any::<u8>(), 0..40),
    ];
    let rtype = prop_oneof![Just(1_u8), Just(28), Just(12), Just(6), Just(255), Just(252), any::<u8>()];
    let opt = prop_oneof![
        Just(vec![]),
        Just(vec![0, 0, 41, 16, 0, 0, 0, 0x80, 0, 0, 0]),
        proptest::collection::vec(any::<u8>(), 0..24)
    ];
    (any::<u8>(), name, rtype, opt, 0_u8..3).prop_map(|(flags, name, rtype, opt, more)| {
        let mut bytes =
            vec![1, 2, flags & 0x7f, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(!opt.is_empty()) + more / 2];
        bytes.extend(name);
        bytes.extend([0, rtype, 0, 1]);
        bytes.extend(opt);
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn messages(steps in proptest::collection::vec((any::<u8>(), question()), 0..40)) {
        let mut bytes = Vec::new();
        for (control, question) in steps {
            bytes.extend([control, u8::try_from(question.len()).unwrap_or(255)]);
            bytes.extend(question);
        }
        fuzz_messages(&bytes);
    }

    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        fuzz_messages(&bytes);
    }

    #[test]
    fn names(text in "\\PC{0,80}") {
        if let Ok(name) = text.parse::<DomainName>() {
            prop_assert_eq!(name.to_string().parse::<DomainName>().unwrap(), name.clone());
            prop_assert!(name.is_within(&name) && name.as_wire().len() <= 255);
            let _ = sample().zones.find(name.as_wire());
        }
    }
}
