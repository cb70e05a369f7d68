//! The daemon's settings file.
//!
//! Owns: adding runtimes to it and keeping all else, in one step that a crash cannot halve. Must not: repair a file
//! that it can't read, or touch what is registered already.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value, json};

const KEY: &str = "runtimes";

/// A change that was made.
#[derive(Debug)]
pub(super) struct Edit {
    path: PathBuf,
    before: Option<String>,
}

/// Adds runtimes to a settings file, whose former content is left beside it. Returns nothing if they are there.
pub(super) fn add(path: &Path, wanted: &[(&str, PathBuf)]) -> Result<Option<Edit>> {
    let path = match fs::canonicalize(path) {
        Ok(real) => real,
        Err(error) if error.kind() == ErrorKind::NotFound => path.to_owned(),
        Err(error) => return Err(error).with_context(|| format!("failed to find {}", path.display())),
    };
    let before = read(&path)?;
    let after = merged(before.as_deref().unwrap_or_default(), wanted)
        .with_context(|| format!("{} is left as it is", path.display()))?;
    let Some(after) = after else { return Ok(None) };
    if let Some(before) = &before {
        replace(&beside(&path, "before-runtimes"), before)?;
    }
    replace(&path, &after)?;
    println!("added {KEY} to {}", path.display());
    Ok(Some(Edit { path, before }))
}

impl Edit {
    /// Puts the file back as it was.
    pub(super) fn undo(&self) -> Result<()> {
        match &self.before {
            Some(before) => replace(&self.path, before),
            None => fs::remove_file(&self.path)
                .with_context(|| format!("failed to remove {}", self.path.display())),
        }
    }
}

/// Returns the settings with runtimes added; nothing if all are there.
fn merged(text: &str, wanted: &[(&str, PathBuf)]) -> Result<Option<String>> {
    let mut settings = if text.trim().is_empty() {
        Map::new()
    } else {
        match serde_json::from_str(text).context("it is not JSON")? {
            Value::Object(settings) => settings,
            _ => bail!("it is JSON, but no object"),
        }
    };
    let there = settings.entry(KEY).or_insert_with(|| Value::Object(Map::new()));
    let Value::Object(there) = there else {
        bail!("its key `{KEY}` is no object");
    };
    let count = there.len();
    for (name, path) in wanted {
        if !there.contains_key(*name) {
            there.insert((*name).to_owned(), json!({"path": path}));
        }
    }
    if there.len() == count {
        return Ok(None);
    }
    Ok(Some(format!("{}\n", serde_json::to_string_pretty(&settings)?)))
}

fn read(path: &Path) -> Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("failed to read {}", path.display())),
    }
}

/// Returns the path of a file that lies beside another one.
fn beside(path: &Path, what: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".");
    name.push(what);
    path.with_file_name(name)
}

/// Writes a file so that others see the old or the new content, whatever happens. It keeps its mode.
fn replace(path: &Path, text: &str) -> Result<()> {
    let mode = fs::metadata(path).map_or(0o644, |metadata| metadata.permissions().mode() & 0o7777);
    write_whole(path, text, mode).with_context(|| format!("failed to write {}", path.display()))
}

/// Writes a file in one step, with a mode.
pub(super) fn write_whole(path: &Path, text: &str, mode: u32) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder)?;
    let temporary = beside(path, &format!("new-{}", std::process::id()));
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)?;
    let written = file
        .write_all(text.as_bytes())
        .and_then(|()| file.set_permissions(Permissions::from_mode(mode)))
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted() -> Vec<(&'static str, PathBuf)> {
        ["crun", "runsc"]
            .map(|name| (name, PathBuf::from(format!("/w/{name}"))))
            .into()
    }

    fn as_json(text: &str) -> Option<Value> {
        let merged = merged(text, &wanted()).unwrap()?;
        Some(serde_json::from_str(&merged).unwrap())
    }

    #[test]
    fn runtimes_are_added_and_the_rest_is_kept() {
        let both = json!({"crun": {"path": "/w/crun"}, "runsc": {"path": "/w/runsc"}});
        let cases = [
            ("", json!({"runtimes": both})),
            (" \n", json!({"runtimes": both})),
            ("{}", json!({"runtimes": both})),
            (
                r#"{"mtu": 1400, "log-opts": {"max-file": "3"}, "hosts": ["fd://"]}"#,
                json!({"mtu": 1400, "log-opts": {"max-file": "3"}, "hosts": ["fd://"], "runtimes": both}),
            ),
            (
                r#"{"runtimes": {"crun": {"path": "/mine", "runtimeArgs": ["--debug"]}, "kata": {"path": "k"}}, "debug": true}"#,
                json!({
                    "runtimes": {
                        "crun": {"path": "/mine", "runtimeArgs": ["--debug"]},
                        "kata": {"path": "k"},
                        "runsc": {"path": "/w/runsc"},
                    },
                    "debug": true,
                }),
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(as_json(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn keys_keep_their_order() {
        let merged = merged(
            r#"{"z": 1, "a": 2}"#,
            &[("runsc", PathBuf::from("/usr/local/lib/x"))],
        );
        let expected = r#"{
  "z": 1,
  "a": 2,
  "runtimes": {
    "runsc": {
      "path": "/usr/local/lib/x"
    }
  }
}
"#;
        assert_eq!(merged.unwrap().as_deref(), Some(expected));
    }

    #[test]
    fn what_is_there_already_is_left_alone() {
        let text = r#"{"runtimes": {"runsc": {"path": "a"}, "crun": {}}}"#;
        assert_eq!(merged(text, &wanted()).unwrap(), None);
        assert_eq!(merged("{}", &[]).unwrap(), None);
    }

    #[test]
    fn a_file_that_is_not_understood_is_refused() {
        let cases = [
            ("{\"mtu\": 1400,}", "it is not JSON"),
            ("# comment\n{}", "it is not JSON"),
            ("mtu: 1400", "it is not JSON"),
            ("[]", "it is JSON, but no object"),
            ("null", "it is JSON, but no object"),
            ("{\"runtimes\": []}", "its key `runtimes` is no object"),
        ];
        for (text, expected) in cases {
            assert_eq!(
                merged(text, &wanted()).unwrap_err().to_string(),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn a_file_is_changed_once_and_can_be_put_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("docker/daemon.json");
        let made = add(&path, &wanted()).unwrap().unwrap();
        assert!(as_json(&fs::read_to_string(&path).unwrap()).is_none());
        made.undo().unwrap();
        assert!(!path.exists());

        let before = "{\"mtu\": 1400}";
        fs::write(&path, before).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        let link = folder.path().join("link.json");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let made = add(&link, &wanted()).unwrap().unwrap();
        assert!(add(&link, &wanted()).unwrap().is_none());
        assert!(link.is_symlink());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o640);
        let backup = path.with_file_name("daemon.json.before-runtimes");
        assert_eq!(fs::read_to_string(backup).unwrap(), before);
        made.undo().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), before);

        fs::write(&path, "{").unwrap();
        assert!(add(&path, &wanted()).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "{");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 2);
    }
}
