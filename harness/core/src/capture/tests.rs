//! One case for each trick that a listing may try.

use pretty_assertions::assert_eq;

use super::*;

fn request(patterns: &[&str]) -> CollectRequest {
    CollectRequest {
        patterns: patterns.iter().map(|pattern| (*pattern).to_owned()).collect(),
        per_file: Bytes(10),
        total: Bytes(25),
        files: 3,
    }
}

fn file(path: &[u8]) -> Entry<'_> {
    Entry {
        path,
        kind: EntryKind::File,
        size: 1,
        links: 1,
    }
}

/// Offers entries under `/out/**`; each that is taken brings as many bytes as it says. Returns the paths that were
/// kept and what was left.
fn kept(entries: &[Entry<'_>]) -> (Vec<String>, Vec<String>) {
    let mut capturing = Capturing::new(&request(&["/out/**"]));
    for entry in entries {
        if let Decision::Take { path, cap } = capturing.offer(entry) {
            let length = usize::try_from(entry.size.min(cap)).unwrap();
            capturing.keep(&path, vec![b'x'; length], entry.size);
        }
    }
    let collected = capturing.finish();
    (
        collected.files.into_iter().map(|file| file.path).collect(),
        collected.left,
    )
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of tricks")]
fn every_trick_is_refused_with_a_reason() {
    let of = |kind| Entry {
        kind,
        ..file(b"/out/x")
    };
    let long = [b"/out/".as_slice(), &[b'a'; 4096]].concat();
    let cases: Vec<(&str, Entry<'_>, Option<&str>)> = vec![
        ("a file", file(b"/out/x"), None),
        ("a file far below", file(b"/out/a/b/c"), None),
        (
            "letters of any language",
            file("/out/größe 中.txt".as_bytes()),
            None,
        ),
        ("a folder", of(EntryKind::Folder), None),
        (
            "a symbolic link",
            of(EntryKind::Link),
            Some("/out/x: a symbolic link"),
        ),
        (
            "a hard link of an archive",
            of(EntryKind::HardLink),
            Some("/out/x: a hard link"),
        ),
        (
            "a hard link of a file system",
            Entry {
                links: 2,
                ..file(b"/out/x")
            },
            Some("/out/x: a file with several names"),
        ),
        ("a device", of(EntryKind::Device), Some("/out/x: a device")),
        ("a pipe", of(EntryKind::Pipe), Some("/out/x: a pipe")),
        ("a socket", of(EntryKind::Socket), Some("/out/x: a socket")),
        (
            "something else",
            of(EntryKind::Other),
            Some("/out/x: no regular file"),
        ),
        (
            "up",
            file(b"/out/../etc/passwd"),
            Some("/out/../etc/passwd: a path that is not plain and absolute"),
        ),
        (
            "up at the end",
            file(b"/out/.."),
            Some("/out/..: a path that is not plain and absolute"),
        ),
        (
            "here",
            file(b"/out/./x"),
            Some("/out/./x: a path that is not plain and absolute"),
        ),
        (
            "two slashes",
            file(b"/out//x"),
            Some("/out//x: a path that is not plain and absolute"),
        ),
        (
            "a slash at the end",
            file(b"/out/x/"),
            Some("/out/x/: a path that is not plain and absolute"),
        ),
        (
            "NUL",
            file(b"/out/x\0.txt"),
            Some("/out/x\\u{0}.txt: a path with characters that can't be seen"),
        ),
        (
            "a line end",
            file(b"/out/x\ny"),
            Some("/out/x y: a path with characters that can't be seen"),
        ),
        (
            "an escape",
            file(b"/out/\x1b[2Jx"),
            Some("/out/\\u{1b}[2Jx: a path with characters that can't be seen"),
        ),
        (
            "text from right to left",
            file("/out/\u{202e}txt.exe".as_bytes()),
            Some("/out/\\u{202e}txt.exe: a path with characters that can't be seen"),
        ),
        (
            "no UTF-8",
            file(b"/out/\xff"),
            Some("/out/\u{fffd}: a path that is not UTF-8"),
        ),
    ];
    for (name, entry, reason) in cases {
        let (files, left) = kept(&[entry]);
        let taken = reason.is_none() && entry.kind == EntryKind::File;
        assert_eq!(files.len(), usize::from(taken), "{name}");
        assert_eq!(
            left,
            reason.map(str::to_owned).into_iter().collect::<Vec<_>>(),
            "{name}"
        );
    }
    let (files, left) = kept(&[file(&long)]);
    assert_eq!((files.len(), left.len()), (0, 1));
    assert!(
        left[0].ends_with("a path that is too long") && left[0].len() < 300,
        "{}",
        left[0]
    );
}

#[test]
fn what_was_not_asked_for_is_no_news() {
    for path in [
        "/etc/passwd",
        "out/x",
        "/outer/x",
        "/OUT/x",
        "",
        "/",
        "//out/x",
        "/other/../out/x",
    ] {
        assert_eq!(kept(&[file(path.as_bytes())]), (Vec::new(), Vec::new()), "{path}");
    }
    let mut capturing = Capturing::new(&request(&["/out", "/out/sub"]));
    let folder = Entry {
        kind: EntryKind::Folder,
        ..file(b"/out")
    };
    assert_eq!(capturing.offer(&folder), Decision::Leave);
    assert_eq!(
        capturing.finish().left,
        ["/out: a folder; write it with `/**` for what is in it"]
    );
}

#[test]
fn one_name_is_kept_once() {
    let cases: [(&[&str], &[&str], &[&str]); 4] = [
        (
            &["/out/a", "/out/a"],
            &["/out/a"],
            &["/out/a: a second entry of this name"],
        ),
        (&["/out/a", "/out/A"], &["/out/A", "/out/a"], &[]),
        (
            &["/out/a", "/out/a/b"],
            &["/out/a"],
            &["/out/a/b: a file and a folder of one name"],
        ),
        (
            &["/out/a/b/c", "/out/a", "/out/a-b"],
            &["/out/a-b", "/out/a/b/c"],
            &["/out/a: a file and a folder of one name"],
        ),
    ];
    for (offered, expected, reasons) in cases {
        let entries: Vec<Entry<'_>> = offered.iter().map(|path| file(path.as_bytes())).collect();
        let (files, left) = kept(&entries);
        assert_eq!(
            (files, left),
            (
                expected.iter().map(ToString::to_string).collect(),
                reasons.iter().map(ToString::to_string).collect()
            )
        );
    }
}

#[test]
fn sizes_and_numbers_are_bounded() {
    let sized = |path: &'static str, size| Entry {
        size,
        ..file(path.as_bytes())
    };
    let mut capturing = Capturing::new(&request(&["/out/**"]));
    let mut take = |entry: Entry<'_>, bytes: usize| match capturing.offer(&entry) {
        Decision::Take { path, cap } => {
            capturing.keep(&path, vec![b'x'; bytes], entry.size);
            Some(cap)
        }
        Decision::Skip | Decision::Leave => None,
    };
    // A file may bring more than it says, or less.
    assert_eq!(take(sized("/out/lies", 1), 1000), Some(10));
    assert_eq!(take(sized("/out/large", u64::MAX), 4), Some(10));
    assert_eq!(take(sized("/out/c", 10), 10), Some(10));
    assert_eq!(take(sized("/out/d", 0), 0), None, "there are three");
    let collected = capturing.finish();
    let sizes: Vec<(&str, usize, u64)> = collected
        .files
        .iter()
        .map(|file| (file.path.as_str(), file.bytes.len(), file.size))
        .collect();
    assert_eq!(
        sizes,
        [
            ("/out/c", 10, 10),
            ("/out/large", 4, u64::MAX),
            ("/out/lies", 10, 10)
        ]
    );
    assert_eq!(collected.left, ["/out/d: more than 3 files"]);

    let ten = |path: &'static str| sized(path, 10);
    let (files, left) = kept(&[ten("/out/a"), ten("/out/b"), ten("/out/c"), sized("/out/d", 5)]);
    assert_eq!(files, ["/out/a", "/out/b", "/out/d"]);
    assert_eq!(left, ["/out/c: 10B do not fit into the 5B that are left"]);
}

#[test]
fn reasons_are_bounded() {
    let link = Entry {
        kind: EntryKind::Link,
        ..file(b"/out/x")
    };
    let (_, left) = kept(&vec![link; 1000]);
    assert_eq!(
        (left.len(), left.last().map(String::as_str)),
        (25, Some("and 976 more"))
    );
}

#[test]
fn what_an_adapter_collected_is_checked_again() {
    let collected = |path: &str| CollectedFile {
        path: path.to_owned(),
        bytes: vec![b'x'; 12],
        size: 12,
    };
    let all = Collected {
        files: ["/out/a", "/out/../b", "/etc/c", "/out/a"].map(collected).into(),
        left: vec!["/out/l: a symbolic link".to_owned()],
    };
    let expected = Collected {
        files: vec![CollectedFile {
            path: "/out/a".to_owned(),
            bytes: vec![b'x'; 10],
            size: 12,
        }],
        left: vec![
            "/out/../b: a path that is not plain and absolute".to_owned(),
            "/out/a: a second entry of this name".to_owned(),
            "/out/l: a symbolic link".to_owned(),
        ],
    };
    assert_eq!(checked(&request(&["/out/**"]), all), expected);
}

#[test]
fn patterns_fit_whole_paths() {
    for (pattern, path, expected) in [
        ("/a/b", "/a/b", true),
        ("/a/b", "/a/b/c", false),
        ("/a/*", "/a/b", true),
        ("/a/*", "/a/b/c", false),
        ("/a/*", "/a/", true),
        ("/a/*.txt", "/a/b.txt", true),
        ("/a/?.txt", "/a/bb.txt", false),
        ("/a/**", "/a/b/c", true),
        ("/a/**", "/a", true),
        ("/a/**/z", "/a/z", true),
        ("/a/**/z", "/a/b/c/z", true),
        ("/a/**/z", "/a/b/c/zz", false),
        ("/**/*.log", "/var/log/x.log", true),
        ("/a**b/c", "/axb/c", true),
        ("/a/**/b/**/c", "/a/b/b/x/c", true),
        ("/A", "/a", false),
    ] {
        assert_eq!(fits(pattern, path), expected, "{pattern} {path}");
    }
    let hard = format!("/{}", "**/a/".repeat(200));
    assert!(!fits(&hard, &"/a".repeat(2000)));
}

#[test]
fn files_collide_where_one_is_in_the_way_of_the_other() {
    for (left, right, expected) in [
        ("/score/key", "/score/key", true),
        ("/score", "/score/key", true),
        ("/score/key/x", "/score/key", true),
        ("/score/key2", "/score/key", false),
        ("/sco", "/score/key", false),
    ] {
        assert_eq!(collide(left, right), expected, "{left} {right}");
    }
}
