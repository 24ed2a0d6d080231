//! The words of power control: what is done, printed and written to `nodelist.status`, given the machine's
//! state.

use dawn_ipmi::command::chassis::Control;
use dawn_wire::status;

/// What an administrator asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// `stat`, `state`, `status`.
    State,
    /// Power on.
    On,
    /// Power off at once.
    Off,
    /// Shut down by ACPI.
    SoftOff,
    /// Reset if it runs.
    Reset,
    /// Reset if it runs, otherwise power on.
    Boot,
    /// Off, a pause, on.
    Cycle,
    /// A diagnostic interrupt.
    Nmi,
}

impl Word {
    const WORDS: [(&'static str, Self); 11] = [
        ("stat", Self::State),
        ("state", Self::State),
        ("status", Self::State),
        ("on", Self::On),
        ("off", Self::Off),
        ("softoff", Self::SoftOff),
        ("reset", Self::Reset),
        ("boot", Self::Boot),
        ("cycle", Self::Cycle),
        ("nmi", Self::Nmi),
        ("diag", Self::Nmi),
    ];

    /// The word, if it is one.
    pub fn parse(text: &str) -> Option<Self> {
        Self::WORDS.iter().find(|(word, _)| *word == text).map(|(_, word)| *word)
    }
}

/// How a driver's lines read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// The word of what was done: `boot` of a running machine is `reset`.
    Processor,
    /// State and action for `boot` (`on reset`), the state afterwards for the rest.
    Virtual,
}

/// The result of a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What to do, if anything.
    pub control: Option<Control>,
    /// The line.
    pub line: &'static str,
    /// The new `nodelist.status`, once it is done.
    pub status: Option<&'static str>,
}

const POWERING_ON: Option<&str> = Some(status::POWERING_ON);
const POWERING_OFF: Option<&str> = Some(status::POWERING_OFF);

/// The result of a word for a machine that is on or off.
pub fn plan(word: Word, is_on: bool, style: Style) -> Plan {
    let nothing = |line| Plan { control: None, line, status: None };
    let send = |control, line, status| Plan { control: Some(control), line, status };
    let of_style = |processor, of_virtual| match style {
        Style::Processor => processor,
        Style::Virtual => of_virtual,
    };
    match (word, is_on) {
        (Word::State | Word::On, true) => nothing("on"),
        (Word::State | Word::Off | Word::SoftOff | Word::Reset, false) => nothing("off"),
        (Word::On, false) => send(Control::On, "on", POWERING_ON),
        (Word::Off, true) => send(Control::Off, "off", POWERING_OFF),
        (Word::SoftOff, true) => send(Control::SoftOff, of_style("softoff", "on"), POWERING_OFF),
        (Word::Reset, true) => send(Control::Reset, of_style("reset", "on"), POWERING_ON),
        (Word::Boot, true) => send(Control::Reset, of_style("reset", "on reset"), POWERING_ON),
        (Word::Boot, false) => send(Control::On, of_style("on", "off on"), POWERING_ON),
        (Word::Cycle, _) => send(Control::Cycle, "cycle", None),
        (Word::Nmi, _) => send(Control::Diagnostic, "nmi", None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// xCAT's table: word, state, control, line, status.
    #[test]
    fn words_of_service_processors() {
        #[rustfmt::skip]
        let cases = [
            ("stat",    true,  None,                      "on",      None),
            ("state",   false, None,                      "off",     None),
            ("status",  true,  None,                      "on",      None),
            ("on",      false, Some(Control::On),         "on",      Some("powering-on")),
            ("on",      true,  None,                      "on",      None),
            ("off",     true,  Some(Control::Off),        "off",     Some("powering-off")),
            ("off",     false, None,                      "off",     None),
            ("softoff", true,  Some(Control::SoftOff),    "softoff", Some("powering-off")),
            ("softoff", false, None,                      "off",     None),
            ("reset",   true,  Some(Control::Reset),      "reset",   Some("powering-on")),
            ("reset",   false, None,                      "off",     None),
            ("boot",    false, Some(Control::On),         "on",      Some("powering-on")),
            ("boot",    true,  Some(Control::Reset),      "reset",   Some("powering-on")),
            ("cycle",   true,  Some(Control::Cycle),      "cycle",   None),
            ("cycle",   false, Some(Control::Cycle),      "cycle",   None),
            ("nmi",     true,  Some(Control::Diagnostic), "nmi",     None),
        ];
        for (word, is_on, control, line, status) in cases {
            let word = Word::parse(word).unwrap();
            assert_eq!(
                plan(word, is_on, Style::Processor),
                Plan { control, line, status },
                "{word:?} {is_on}"
            );
        }
        assert_eq!(Word::parse("bogus"), None);
    }

    #[test]
    fn words_of_virtual_machines() {
        for (word, is_on, line) in [
            (Word::Boot, true, "on reset"),
            (Word::Boot, false, "off on"),
            (Word::Reset, true, "on"),
            (Word::Off, true, "off"),
            (Word::On, false, "on"),
        ] {
            assert_eq!(plan(word, is_on, Style::Virtual).line, line, "{word:?} {is_on}");
        }
    }
}
