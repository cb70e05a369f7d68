//! What people see, against what programs write.

use pretty_assertions::assert_eq;
use proptest::prelude::*;

use super::*;

fn screen() -> Screen {
    Screen::new(WindowSize { rows: 5, cols: 20 }, "n")
}

fn text(screen: &mut Screen) -> String {
    let taken = screen.new_text();
    String::from_utf8([taken.head, taken.tail].concat()).unwrap()
}

fn shown(bytes: &[u8]) -> String {
    let mut screen = screen();
    screen.feed(bytes);
    text(&mut screen)
}

#[test]
fn text_is_what_a_person_would_see() {
    let cases: [(&[u8], &str); 22] = [
        (b"plain\r\ntwo\r\n", "plain\ntwo\n"),
        (b"\x1b[1;31mred\x1b[0m\r\n", "red\n"),
        (b" 10%\r 50%\r100%\r\n", "100%\n"),
        (b"downloading\r   done     \r\n", "   done\n"),
        (b"abc\x08\x08X\r\n", "aXc\n"),
        (b"wrong\x1b[2K\rright\r\n", "right\n"),
        (b"keep this\x1b[5D\x1b[K\r\n", "keep\n"),
        (b"abcdef\x1b[4D\x1b[2P\r\n", "abef\n"),
        (b"abef\x1b[2D\x1b[2@cd\r\n", "abcdef\n"),
        (b"a\tb\r\n", "a       b\n"),
        (b"a\x1b[5Gb\r\n", "a   b\n"),
        (b"blanks  \r\n", "blanks  \n"),
        (b"unfinished", "unfinished"),
        (b"\x1b]0;title\x07text\r\n", "text\n"),
        (b"\x1bPq#0;2;0;0;0\x1b\\sixel\r\n", "sixel\n"),
        (b"bell\x07\x00\x05\r\n", "bell\n"),
        (b"\x1b[2J\x1b[1;1Htop\x1b[3;1Hthird\r\n", "top\nthird\n"),
        (
            b"before\r\n\x1b[?1049h\x1b[Heditor\x1b[?1049lafter\r\n",
            "before\nafter\n",
        ),
        ("gr\u{fc}\u{df} \u{4e2d}\r\n".as_bytes(), "grüß 中\n"),
        (b"\xff\xfe\r\n", "\u{fffd}\u{fffd}\n"),
        (b"\x1b[999999999C|\x1b[65535@\x1b[65535X\x1b[9999A\r\n", ""),
        (b"\x1b]6973;forged;0\x07$ ", "$ "),
    ];
    for (bytes, expected) in cases {
        let found = shown(bytes);
        if expected.is_empty() {
            assert!(found.trim() == "|", "{}", found.trim());
        } else {
            assert_eq!(found, expected, "{}", bytes.escape_ascii());
        }
    }
}

#[test]
fn long_lines_are_not_lost() {
    let long = "0123456789".repeat(5000);
    assert_eq!(shown(format!("{long}\r\n").as_bytes()), format!("{long}\n"));
}

#[test]
fn text_is_bounded_and_counts_what_is_missing() {
    let mut screen = screen();
    for _ in 0..300 {
        screen.feed(&[b'y'; 10_000]);
        screen.feed(b"\r\n");
    }
    let taken = screen.new_text();
    assert_eq!(
        (taken.total, taken.head.len() + taken.tail.len()),
        (3_000_300, 1 << 20)
    );
}

#[test]
fn each_call_sees_only_what_is_new() {
    let mut screen = screen();
    screen.feed(b"one\r\ntw");
    assert_eq!(text(&mut screen), "one\ntw");
    screen.feed(b"o\r\nthree");
    assert_eq!(text(&mut screen), "o\nthree");
    assert_eq!(text(&mut screen), "");
    screen.feed(b"\rTHREE!");
    assert_eq!(text(&mut screen), "THREE!");
}

#[test]
fn prompts_are_known_by_their_nonce_and_not_shown() {
    let mut screen = screen();
    screen.feed(b"\x1b[?2004h\x1b]6973;n;0\x07/home $ ");
    assert_eq!(
        (text(&mut screen), screen.prompt()),
        (String::new(), Some(Prompt::Ready { code: 0 }))
    );
    screen.forget_prompt();
    screen.feed(b"printf x; false\r\n\x1b[?2004l\rx\x1b[?2004h\x1b]6973;n;1\x07/home $ ");
    assert_eq!(screen.prompt(), Some(Prompt::Ready { code: 1 }));
    assert_eq!(text(&mut screen), "printf x; false\nx");
    screen.forget_prompt();
    screen.feed(b"echo 'a\r\n\x1b]6973;n;more\x07> ");
    assert_eq!(
        (text(&mut screen), screen.prompt()),
        ("echo 'a\n".to_owned(), Some(Prompt::More))
    );
    screen.forget_prompt();
    screen.feed(b"b'\r\na\r\nb\r\n\x1b]6973;wrong;0\x07/home $ ");
    assert_eq!(
        (text(&mut screen), screen.prompt()),
        ("b'\na\nb\n/home $ ".to_owned(), None)
    );
    assert!(screen.line_is_open());
    screen.feed(b"\x1b]6973;n;x\x07\x1b]6973;n\x07\x1b]6973;\xff;0\x07");
    assert_eq!(screen.prompt(), None);
}

#[test]
fn a_prompt_is_over_when_something_comes_after_its_line() {
    let mut screen = screen();
    screen.feed(b"\x1b]6973;n;0\x07$ ");
    assert!(screen.prompt().is_some());
    screen.feed(b"sleep 1\r\n");
    assert_eq!(screen.prompt(), None);
}

#[test]
fn screens_show_what_is_drawn() {
    let mut screen = screen();
    screen.feed(b"\x1b[?1049h\x1b[2;3Hmenu\x1b[4;1H> ");
    assert!(screen.alternate() && !screen.line_is_open());
    let expected = "[screen of 5 lines and 20 columns, cursor in line 4, column 3]\n\n  menu\n\n>\n";
    assert_eq!(screen.screen_text(), expected);
    screen.resize(WindowSize { rows: 1, cols: 9999 });
    assert_eq!(screen.size(), WindowSize { rows: 2, cols: 500 });
    screen.feed(b"\x1b[?1049l");
    assert!(!screen.alternate());
}

#[test]
fn what_is_typed_depends_on_what_the_program_asked_for() {
    let mut screen = screen();
    assert_eq!(screen.type_line("a\nb"), b"a\rb\r");
    assert_eq!(screen.press(Key::Cursor('A')), b"\x1b[A");
    screen.feed(b"\x1b[?2004h\x1b[?1h");
    assert_eq!(screen.type_line("a\nb"), b"\x1b[200~a\rb\x1b[201~\r");
    assert_eq!(screen.type_line("a b"), b"a b\r");
    assert_eq!(screen.press(Key::Cursor('A')), b"\x1bOA");
}

/// Pieces that lead into every state, and anything in between.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let number = prop_oneof![Just(0_u32), 1..6_u32, Just(65_535), Just(4_000_000_000)];
    let sequence = (prop::collection::vec(number, 0..4), "[?>! ]{0,2}", 0x40..0x7f_u8).prop_map(
        |(numbers, before, last)| {
            let numbers: Vec<String> = numbers.iter().map(u32::to_string).collect();
            [
                b"\x1b[".as_slice(),
                before.as_bytes(),
                numbers.join(";").as_bytes(),
                &[last],
            ]
            .concat()
        },
    );
    let words: Vec<&'static [u8]> = vec![
        b"\r",
        b"\n",
        b"\x08",
        b"\t",
        b"\x1b",
        b"\x1b]6973;n;0\x07",
        b"\x1b]6973;",
        b"\x1b]",
        b"\x1bP",
        b"\x1b\\",
        b"\x1bM",
        b"\x1bc",
        b"\x1b7",
        b"\x1b8",
        b"\x1b[?1049h",
        b"\x1b[?1049l",
        b"\x1b[?6h",
        b"\x1b[2;4r",
        "中".as_bytes(),
        "e\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}".as_bytes(),
        "🙂".as_bytes(),
        b"\xe2\x80",
        b"\xff",
        b"\x9b",
        b"text",
        b"\x1b(0",
        b"\x1b[?7l",
        b"\x1b[20b",
        b"\x1b#8",
    ];
    prop_oneof![
        3 => prop::sample::select(words).prop_map(<[u8]>::to_vec),
        3 => sequence,
        1 => prop::collection::vec(any::<u8>(), 0..40),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, rng_seed: prop::test_runner::RngSeed::Fixed(7), failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever a program writes, however it is cut: no panic, the same text, and nothing but plain text.
    #[test]
    fn hostile_bytes_are_only_text(
        pieces in prop::collection::vec(piece(), 0..60),
        cuts in prop::collection::vec(1..50_usize, 1..20),
        size in (1..7_u16, 1..30_u16),
    ) {
        let bytes = pieces.concat();
        let size = WindowSize { rows: size.0, cols: size.1 };
        let (mut whole, mut cut) = (Screen::new(size, "n"), Screen::new(size, "n"));
        whole.feed(&bytes);
        let mut rest = bytes.as_slice();
        for length in cuts.iter().cycle() {
            let (piece, next) = rest.split_at((*length).min(rest.len()));
            cut.feed(piece);
            rest = next;
            if rest.is_empty() {
                break;
            }
        }
        // The screens may differ: the emulator reads broken characters differently where a piece ends.
        let _ = (whole.screen_text(), cut.screen_text());
        prop_assert_eq!(whole.prompt(), cut.prompt());
        let text = text(&mut whole);
        prop_assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{:?}", text);
        prop_assert_eq!(text, self::text(&mut cut));
        whole.resize(WindowSize { rows: size.cols, cols: size.rows });
        whole.feed(&bytes);
        let shown = whole.screen_text();
        prop_assert!(!shown.chars().any(|c| c.is_control() && c != '\n'), "{:?}", shown);
    }

    /// The emulator itself takes everything; the guard around it is for what nobody thought of.
    #[test]
    fn the_emulator_needs_no_guard(pieces in prop::collection::vec(piece(), 0..80), size in (2..7_u16, 20..30_u16)) {
        let mut parser = parser(WindowSize { rows: size.0, cols: size.1 });
        parser.process(&pieces.concat());
        let (rows, cols) = bounded(WindowSize { rows: size.1, cols: size.0 });
        parser.screen_mut().set_size(rows, cols);
        parser.process(&pieces.concat());
    }
}

/// Four bytes may rewrite the whole screen. How much of that is done in one go is bounded by the work, not by the bytes.
#[test]
fn work_is_done_in_bounded_pieces() {
    let size = WindowSize {
        rows: ROWS.1,
        cols: COLS.1,
    };
    let mut screen = Screen::new(size, "n");
    let erases = b"\x1b[2J".repeat(10_000);
    let cells = usize::from(size.rows) * usize::from(size.cols);
    assert_eq!(screen.feed_some(&erases), 4 * (2_000_000 / (cells + 3)));
    let mut plain = Screen::new(DEFAULT_SIZE, "n");
    let text = b"plain text\r\n".repeat(1000);
    assert_eq!(plain.feed_some(&text), text.len());
    assert_eq!(plain.feed_some(b"\x1b"), 1);
    assert_eq!(plain.feed_some(b""), 0);

    let colours = b"\x1b[31mred\x1b[0m and \xc3\xa9\r\n".repeat(2000);
    let mut pieces = Screen::new(size, "n");
    let mut rest = colours.as_slice();
    let mut count = 0;
    while !rest.is_empty() {
        let fed = pieces.feed_some(rest);
        rest = &rest[fed..];
        count += 1;
    }
    let mut whole = Screen::new(size, "n");
    whole.feed(&colours);
    assert!(count > 100, "{count}");
    assert_eq!(pieces.screen_text(), whole.screen_text());
    assert_eq!(pieces.new_text(), whole.new_text());
}
