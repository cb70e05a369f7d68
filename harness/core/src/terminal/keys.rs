//! Keys by name, and the bytes that they make on a terminal like xterm.
//!
//! Owns: names and bytes. Must not: know who presses them.

/// A key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// A character.
    Char(char),
    /// Enter.
    Enter,
    /// Tab.
    Tab,
    /// Escape.
    Escape,
    /// Backspace.
    Backspace,
    /// An arrow, Home or End, by the letter of its sequence.
    Cursor(char),
    /// A key of the block above the arrows or a function key, by the number of its sequence.
    Numbered(u8),
    /// F1 to F4, by the letter of its sequence.
    Function(char),
    /// A letter or backslash together with the control key, by its byte.
    Control(u8),
}

/// Keys with names that are no pattern.
const NAMED: [(&str, Key); 16] = [
    ("enter", Key::Enter),
    ("tab", Key::Tab),
    ("escape", Key::Escape),
    ("backspace", Key::Backspace),
    ("space", Key::Char(' ')),
    ("up", Key::Cursor('A')),
    ("down", Key::Cursor('B')),
    ("right", Key::Cursor('C')),
    ("left", Key::Cursor('D')),
    ("home", Key::Cursor('H')),
    ("end", Key::Cursor('F')),
    ("insert", Key::Numbered(2)),
    ("delete", Key::Numbered(3)),
    ("page-up", Key::Numbered(5)),
    ("page-down", Key::Numbered(6)),
    ("ctrl-backslash", Key::Control(0x1c)),
];

/// The numbers of F5 to F12.
const F_NUMBERS: [u8; 8] = [15, 17, 18, 19, 20, 21, 23, 24];

impl Key {
    /// Returns the names, for descriptions and problems.
    pub const NAMES: &'static str = "enter, tab, escape, backspace, space, up, down, left, right, home, end, page-up, \
                                     page-down, insert, delete, f1 to f12, ctrl-a to ctrl-z, ctrl-backslash, or one \
                                     character";

    /// Reads the name of a key, or one character.
    pub fn parse(name: &str) -> Option<Self> {
        if let Some((_, key)) = NAMED.iter().find(|(known, _)| name.eq_ignore_ascii_case(known)) {
            return Some(*key);
        }
        let mut chars = name.chars();
        if let (Some(c), None) = (chars.next(), chars.next()) {
            return (!c.is_control()).then_some(Self::Char(c));
        }
        let lower = name.to_ascii_lowercase();
        if let Some(number) = lower
            .strip_prefix('f')
            .and_then(|number| number.parse::<u8>().ok())
        {
            return match number {
                1..=4 => Some(Self::Function(char::from(b'O' + number))),
                5..=12 => Some(Self::Numbered(F_NUMBERS[usize::from(number - 5)])),
                _ => None,
            };
        }
        match lower.strip_prefix("ctrl-")?.as_bytes() {
            [letter @ b'a'..=b'z'] => Some(Self::Control(letter - b'a' + 1)),
            _ => None,
        }
    }

    /// Returns the bytes. Programs may ask for other ones of the arrows.
    pub fn bytes(self, application_cursor: bool) -> Vec<u8> {
        match self {
            Self::Char(c) => c.to_string().into_bytes(),
            Self::Enter => vec![b'\r'],
            Self::Tab => vec![b'\t'],
            Self::Escape => vec![0x1b],
            Self::Backspace => vec![0x7f],
            Self::Cursor(letter) if application_cursor => format!("\x1bO{letter}").into_bytes(),
            Self::Cursor(letter) => format!("\x1b[{letter}").into_bytes(),
            Self::Numbered(number) => format!("\x1b[{number}~").into_bytes(),
            Self::Function(letter) => format!("\x1bO{letter}").into_bytes(),
            Self::Control(byte) => vec![byte],
        }
    }
}

/// Returns the bytes that typing a text and then Enter makes; as a terminal does it, the ends of lines are carriage
/// returns. A pasted text can't hold the mark of its own end.
pub fn typed(text: &str, paste: bool) -> Vec<u8> {
    let text = text.strip_suffix('\n').unwrap_or(text).replace("\r\n", "\n");
    let lines = text.replace('\n', "\r");
    let mut bytes = Vec::with_capacity(lines.len() + 16);
    if paste {
        bytes.extend_from_slice(b"\x1b[200~");
        bytes.extend_from_slice(lines.replace('\x1b', "").as_bytes());
        bytes.extend_from_slice(b"\x1b[201~");
    } else {
        bytes.extend_from_slice(lines.as_bytes());
    }
    bytes.push(b'\r');
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use pretty_assertions::assert_eq;

    #[test]
    fn keys_have_names_and_bytes() {
        let cases: [(&str, Option<&[u8]>); 24] = [
            ("enter", Some(b"\r")),
            ("Enter", Some(b"\r")),
            ("tab", Some(b"\t")),
            ("escape", Some(b"\x1b")),
            ("backspace", Some(b"\x7f")),
            ("space", Some(b" ")),
            ("up", Some(b"\x1b[A")),
            ("end", Some(b"\x1b[F")),
            ("page-down", Some(b"\x1b[6~")),
            ("delete", Some(b"\x1b[3~")),
            ("f1", Some(b"\x1bOP")),
            ("f4", Some(b"\x1bOS")),
            ("f5", Some(b"\x1b[15~")),
            ("F12", Some(b"\x1b[24~")),
            ("f13", None),
            ("ctrl-a", Some(b"\x01")),
            ("ctrl-C", Some(b"\x03")),
            ("ctrl-z", Some(b"\x1a")),
            ("ctrl-backslash", Some(b"\x1c")),
            ("ctrl-1", None),
            ("y", Some(b"y")),
            ("ä", Some("ä".as_bytes())),
            ("\n", None),
            ("yes", None),
        ];
        for (name, bytes) in cases {
            let found = Key::parse(name).map(|key| key.bytes(false));
            assert_eq!(found.as_deref(), bytes, "{name}");
        }
        assert_eq!(Key::Cursor('A').bytes(true), b"\x1bOA");
    }

    #[test]
    fn typing_ends_with_enter() {
        assert_eq!(typed("ls", false), b"ls\r");
        assert_eq!(typed("ls\n", false), b"ls\r");
        assert_eq!(typed("a\r\nb\n\n", false), b"a\rb\r\r");
        assert_eq!(typed("a\tb\x1b[201~", true), b"\x1b[200~a\tb[201~\x1b[201~\r");
        assert_eq!(typed("", true), b"\x1b[200~\x1b[201~\r");
    }
}
