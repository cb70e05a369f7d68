//! From the file maps of a task to the files that are put into a container.
//!
//! Owns: folders in maps, and files written by a shell script. Must not: read the host's file system.

use std::fmt::Write as _;
use std::sync::Arc;

use crate::ports::PutFile;
use crate::task::{FileMap, TaskFiles};

/// Returns the files that a map names; a folder brings everything below it. Sorted by container path.
pub fn resolve(map: &FileMap, files: &TaskFiles) -> Vec<PutFile> {
    let mut found = Vec::new();
    for (target, source) in map {
        let source = source.trim_start_matches("./").trim_end_matches('/');
        if let Some(data) = files.get(source) {
            found.push(PutFile {
                path: target.clone(),
                data: Arc::clone(data),
            });
            continue;
        }
        let prefix = if source.is_empty() || source == "." {
            String::new()
        } else {
            format!("{source}/")
        };
        let below = files
            .range(prefix.clone()..)
            .take_while(|(path, _)| path.starts_with(&prefix));
        for (path, data) in below {
            let target = format!("{}/{}", target.trim_end_matches('/'), &path[prefix.len()..]);
            found.push(PutFile {
                path: target,
                data: Arc::clone(data),
            });
        }
    }
    found.sort_by(|left, right| left.path.cmp(&right.path));
    found
}

/// Who may read files that a script writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readers {
    /// Everybody: nothing of the agent's is alive.
    Everybody,
    /// Root alone: the agent's processes go on meanwhile.
    Root,
}

/// Returns a POSIX shell script that writes the files and then becomes `run`. Contents are written with octal
/// escapes, which every `printf` understands, so that any bytes survive.
pub fn in_script(files: &[PutFile], run: &str, readers: Readers) -> String {
    let umask = match readers {
        Readers::Everybody => "022",
        Readers::Root => "077",
    };
    let mut script = format!("umask {umask}\n");
    for file in files {
        let path = quote(&file.path);
        if let Some((parent, _)) = file
            .path
            .rsplit_once('/')
            .filter(|(parent, _)| !parent.is_empty())
        {
            let _ = writeln!(script, "mkdir -p {} || exit 125", quote(parent));
        }
        // What the agent may have put there (a link, a folder) must not be written through.
        let _ = writeln!(script, "rm -rf {path} && : > {path} || exit 125");
        for piece in file.data.bytes.chunks(4096) {
            let _ = writeln!(script, "printf '{}' >> {path} || exit 125", octal(piece));
        }
        let mode = match (readers, file.data.executable) {
            (Readers::Everybody, true) => "755",
            (Readers::Everybody, false) => "644",
            (Readers::Root, true) => "700",
            (Readers::Root, false) => "600",
        };
        let _ = writeln!(script, "chmod {mode} {path} || exit 125");
    }
    let _ = writeln!(script, "exec /bin/sh -c {} < /dev/null", quote(run));
    script
}

/// Returns how long the script of [`in_script`] is at most, in bytes.
pub fn script_size(files: &[PutFile]) -> usize {
    files
        .iter()
        .map(|file| 4 * file.data.bytes.len() + 4 * file.path.len() + 100)
        .sum()
}

fn octal(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            match byte {
                b'a'..=b'z'
                | b'A'..=b'Z'
                | b'0'..=b'9'
                | b' '
                | b'.'
                | b','
                | b'_'
                | b'='
                | b'('
                | b')'
                | b':'
                | b'/'
                | b'"' => {
                    text.push(char::from(*byte));
                }
                _ => {
                    let _ = write!(text, "\\{byte:03o}");
                }
            }
            text
        })
}

fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::FileData;
    use pretty_assertions::assert_eq;

    #[test]
    fn folders_bring_what_is_below_them() {
        let data = Arc::new(FileData {
            bytes: b"x".to_vec(),
            executable: false,
        });
        let files: TaskFiles = ["a/one", "a/b/two", "ab", "c"]
            .into_iter()
            .map(|path| (path.to_owned(), Arc::clone(&data)))
            .collect();
        let map = FileMap::from([("/data".into(), "a".into()), ("/c.txt".into(), "c".into())]);
        let paths: Vec<String> = resolve(&map, &files).into_iter().map(|file| file.path).collect();
        assert_eq!(paths, ["/c.txt", "/data/b/two", "/data/one"]);
    }

    #[test]
    fn scripts_quote_whatever_they_write() {
        let data = Arc::new(FileData {
            bytes: b"a'\0%\n\\".to_vec(),
            executable: true,
        });
        let files = [PutFile {
            path: "/s/it's".into(),
            data,
        }];
        let expected = "umask 022\nmkdir -p '/s' || exit 125\nrm -rf '/s/it'\\''s' && : > '/s/it'\\''s' || exit 125\n\
                        printf 'a\\047\\000\\045\\012\\134' >> '/s/it'\\''s' || exit 125\nchmod 755 '/s/it'\\''s' || exit 125\n\
                        exec /bin/sh -c 'echo '\\''x'\\''' < /dev/null\n";
        assert_eq!(in_script(&files, "echo 'x'", Readers::Everybody), expected);
        let private = in_script(&files, "true", Readers::Root);
        assert!(
            private.starts_with("umask 077\n") && private.contains("chmod 700"),
            "{private}"
        );
    }
}
