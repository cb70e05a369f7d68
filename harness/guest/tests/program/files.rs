//! Files and folders, with whatever lies in the way.

use crate::driver::{Driver, is_root, me, nobody};
use harness_guest::{Entry, EntryKind, FileRead, FileWrite, FromGuest, Identity, ProblemKind, ToGuest};
use pretty_assertions::assert_eq;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

fn read(driver: &mut Driver, path: &Path, user: &Identity, cap: u64) -> Result<(u64, Vec<u8>), ProblemKind> {
    driver.say(&ToGuest::Read(FileRead {
        id: 1,
        path: text(path),
        user: user.clone(),
        cap,
    }));
    let mut found = (0, vec![]);
    loop {
        match driver.next() {
            FromGuest::File { size, .. } => found.0 = size,
            FromGuest::FileData { bytes, .. } => found.1.extend(bytes),
            FromGuest::FileEnd { .. } => return Ok(found),
            FromGuest::Failed { problem, .. } => return Err(problem.kind),
            _ => {}
        }
    }
}

fn write(driver: &mut Driver, path: &Path, home: &Path, user: &Identity) -> Result<(), ProblemKind> {
    driver.say(&ToGuest::Write(FileWrite {
        id: 2,
        path: text(path),
        mode: 0o640,
        home: text(home),
        user: user.clone(),
    }));
    for piece in ["con", "tent"] {
        let bytes = piece.into();
        driver.say(&ToGuest::WriteData { id: 2, bytes });
    }
    driver.say(&ToGuest::WriteEnd { id: 2 });
    driver.answer(2).map_err(|problem| problem.kind)
}

fn entries(driver: &mut Driver) -> Result<Vec<Entry>, ProblemKind> {
    let mut all = vec![];
    loop {
        match driver.next() {
            FromGuest::Entries { entries, last, .. } => {
                all.extend(entries);
                if last {
                    all.sort_by(|left, right| left.name.cmp(&right.name));
                    return Ok(all);
                }
            }
            FromGuest::Failed { problem, .. } => return Err(problem.kind),
            _ => {}
        }
    }
}

#[test]
fn regular_files_are_read_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let mut driver = Driver::start();
    let content: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
    fs::write(at("file"), &content).unwrap();
    fs::write(at("empty"), "").unwrap();
    symlink(at("file"), at("link")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, at("pipe"), rustix::fs::Mode::RWXU).unwrap();
    let size = content.len() as u64;
    assert_eq!(
        read(&mut driver, &at("file"), &me(), u64::MAX),
        Ok((size, content.clone()))
    );
    assert_eq!(
        read(&mut driver, &at("file"), &me(), 5),
        Ok((size, content[..5].to_vec()))
    );
    assert_eq!(read(&mut driver, &at("empty"), &me(), 5), Ok((0, vec![])));
    let cases = [
        (at("link"), ProblemKind::WrongKind),
        (at("pipe"), ProblemKind::WrongKind),
        (folder.path().to_owned(), ProblemKind::WrongKind),
        ("/dev/zero".into(), ProblemKind::WrongKind),
        ("/proc/self/environ".into(), ProblemKind::WrongKind),
        (at("missing"), ProblemKind::Missing),
        (at("file/x"), ProblemKind::Missing),
        ("etc/passwd".into(), ProblemKind::Other),
    ];
    for (path, kind) in cases {
        assert_eq!(read(&mut driver, &path, &me(), 5), Err(kind), "{path:?}");
    }
}

#[test]
fn a_user_reads_with_its_own_rights() {
    if !is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let secret = folder.path().join("secret");
    fs::write(&secret, "x").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    let closed = folder.path().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
    let mut driver = Driver::start();
    assert_eq!(read(&mut driver, &secret, &nobody(), 5), Err(ProblemKind::Denied));
    driver.say(&ToGuest::List {
        id: 1,
        path: text(&closed),
        user: nobody(),
    });
    assert_eq!(entries(&mut driver), Err(ProblemKind::Denied));
    driver.say(&ToGuest::Stat {
        id: 1,
        path: text(&closed.join("x")),
        user: nobody(),
    });
    assert_eq!(entries(&mut driver), Err(ProblemKind::Denied));
    assert_eq!(read(&mut driver, &secret, &me(), 5), Ok((1, b"x".to_vec())));
}

#[test]
fn folders_are_listed_and_paths_looked_at() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("file"), "abc").unwrap();
    fs::hard_link(at("file"), at("other")).unwrap();
    fs::create_dir(at("folder")).unwrap();
    symlink("/nowhere", at("link")).unwrap();
    let mut driver = Driver::start();
    driver.say(&ToGuest::List {
        id: 1,
        path: text(folder.path()),
        user: me(),
    });
    let found = entries(&mut driver).unwrap();
    let short: Vec<_> = found
        .iter()
        .map(|entry| {
            (
                String::from_utf8_lossy(&entry.name).into_owned(),
                entry.kind,
                entry.links,
            )
        })
        .collect();
    let expected = [
        ("file".to_owned(), EntryKind::File, 2),
        (
            "folder".to_owned(),
            EntryKind::Folder,
            fs::metadata(at("folder")).unwrap().nlink(),
        ),
        ("link".to_owned(), EntryKind::Link, 1),
        ("other".to_owned(), EntryKind::File, 2),
    ];
    assert_eq!(short, expected);
    driver.say(&ToGuest::Stat {
        id: 1,
        path: text(&at("file")),
        user: me(),
    });
    let looked = Entry {
        name: text(&at("file")).into_bytes(),
        kind: EntryKind::File,
        size: 3,
        links: 2,
        uid: me().uid,
    };
    assert_eq!(entries(&mut driver), Ok(vec![looked]));
    for (path, kind) in [("link", ProblemKind::WrongKind), ("none", ProblemKind::Missing)] {
        driver.say(&ToGuest::List {
            id: 1,
            path: text(&at(path)),
            user: me(),
        });
        assert_eq!(entries(&mut driver), Err(kind));
    }
}

#[test]
fn a_long_list_comes_in_pieces() {
    let folder = tempfile::tempdir().unwrap();
    for number in 0..1000 {
        fs::write(folder.path().join(format!("{number:0200}")), "").unwrap();
    }
    let mut driver = Driver::start();
    driver.say(&ToGuest::List {
        id: 1,
        path: text(folder.path()),
        user: me(),
    });
    assert_eq!(entries(&mut driver).unwrap().len(), 1000);
}

#[test]
fn files_are_put_whole_and_folders_made() {
    let home = tempfile::tempdir().unwrap();
    let at = |name: &str| home.path().join(name);
    let mut driver = Driver::start();
    assert_eq!(write(&mut driver, &at("a/b/file"), home.path(), &me()), Ok(()));
    assert_eq!(fs::read_to_string(at("a/b/file")).unwrap(), "content");
    assert_eq!(fs::metadata(at("a/b/file")).unwrap().mode() & 0o7777, 0o640);
    assert_eq!(fs::metadata(at("a/b")).unwrap().mode() & 0o7777, 0o755);
    fs::write(at("target"), "old").unwrap();
    symlink(at("target"), at("link")).unwrap();
    assert_eq!(write(&mut driver, &at("link"), home.path(), &me()), Ok(()));
    assert_eq!(fs::read_to_string(at("target")).unwrap(), "old");
    assert_eq!(fs::read_link(at("link")).is_err(), true);
    assert_eq!(
        write(&mut driver, &at("a/b"), home.path(), &me()),
        Err(ProblemKind::WrongKind)
    );
    for path in ["relative", "/", "/tmp/../etc/x", "/tmp/"] {
        let wrong = write(&mut driver, Path::new(path), home.path(), &me());
        assert_eq!(wrong, Err(ProblemKind::Other), "{path}");
    }
    let names: Vec<_> = fs::read_dir(at("a"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, ["b"], "nothing is left beside");
}

#[test]
fn links_of_the_user_are_replaced_and_those_of_root_followed() {
    if !is_root() {
        return;
    }
    let world = tempfile::tempdir().unwrap();
    fs::set_permissions(world.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let at = |name: &str| world.path().join(name);
    let give = |path: &Path| std::os::unix::fs::lchown(path, Some(65534), Some(65534)).unwrap();
    let owner = |path: &Path| fs::symlink_metadata(path).unwrap().uid();
    fs::create_dir(at("home")).unwrap();
    give(&at("home"));
    fs::create_dir(at("victim")).unwrap();
    symlink(at("victim"), at("home/trap")).unwrap();
    give(&at("home/trap"));
    fs::write(at("home/wall"), "x").unwrap();
    give(&at("home/wall"));
    fs::write(at("home/roots"), "x").unwrap();
    symlink("../victim", at("home/bridge")).unwrap();
    symlink(at("circle"), at("circle")).unwrap();
    let mut driver = Driver::start();
    let mut put = |path: &str| write(&mut driver, &at(path), &at("home"), &nobody());
    assert_eq!(put("home/trap/file"), Ok(()));
    assert_eq!(put("home/wall/file"), Ok(()));
    assert_eq!(put("home/roots/file"), Err(ProblemKind::WrongKind));
    assert_eq!(put("circle/file"), Err(ProblemKind::WrongKind));
    assert_eq!(fs::read_dir(at("victim")).unwrap().count(), 0);
    assert_eq!(put("home/bridge/file"), Ok(()));
    assert_eq!(put("outside/new/file"), Ok(()));
    assert!(at("victim/file").is_file());
    let owners: Vec<(&str, u32)> = [
        "home/trap",
        "home/trap/file",
        "home/wall",
        "outside/new",
        "outside/new/file",
    ]
    .into_iter()
    .map(|path| (path, owner(&at(path))))
    .collect();
    let expected = [
        ("home/trap", 65534),
        ("home/trap/file", 65534),
        ("home/wall", 65534),
        ("outside/new", 0),
        ("outside/new/file", 0),
    ];
    assert_eq!(owners, expected);
}

#[test]
fn a_full_disk_is_said() {
    let home = tempfile::tempdir().unwrap();
    let mut driver = Driver::start();
    let pid = rustix::process::Pid::from_raw(i32::try_from(driver.child.lock().unwrap().id()).unwrap());
    let limit = rustix::process::Rlimit {
        current: Some(3),
        maximum: Some(3),
    };
    rustix::process::prlimit(pid, rustix::process::Resource::Fsize, limit).unwrap();
    let full = write(&mut driver, &home.path().join("file"), home.path(), &me());
    assert_eq!(full, Err(ProblemKind::DiskFull));
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
}
