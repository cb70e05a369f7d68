//! The programs that the daemon starts in place of a runtime, with the options that it needs here.
//!
//! Owns: their text and where they lie. Must not: know the daemon.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::daemon_json::write_whole;

/// Where wrappers lie.
pub(super) const FOLDER: &str = "/usr/local/lib/harness";
/// Where a cgroup2 lies beside a cgroup v1, if it does.
const UNIFIED: &str = "/sys/fs/cgroup/unified";

/// A runtime that gets a wrapper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrapper {
    Crun,
    Runsc,
}

impl Wrapper {
    pub(super) const ALL: [Self; 2] = [Self::Crun, Self::Runsc];

    /// Returns the name of the runtime and of its program.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Crun => "crun",
            Self::Runsc => "runsc",
        }
    }

    /// Returns where the wrapper lies.
    pub(super) fn path(self) -> PathBuf {
        Path::new(FOLDER).join(self.name())
    }

    /// Returns the wrapper around a program.
    pub(super) fn text(self, program: &Path) -> String {
        let program = quoted(&program.to_string_lossy());
        match self {
            Self::Crun => crun(&program, UNIFIED),
            Self::Runsc => RUNSC.replace("@PROGRAM@", &program),
        }
    }

    /// Writes the wrapper around a program.
    pub(super) fn write(self, program: &Path) -> Result<()> {
        let path = self.path();
        write_whole(&path, &self.text(program), 0o755)
            .with_context(|| format!("failed to write {}", path.display()))
    }
}

fn crun(program: &str, unified: &str) -> String {
    CRUN.replace("@PROGRAM@", program).replace("@UNIFIED@", unified)
}

const CRUN: &str = r#"#!/bin/sh
# Written by `cargo xtask runtimes`.
# crun refuses a host that has a cgroup2 with controllers beside cgroup v1, so there it runs without a view of the former.
crun=@PROGRAM@
if read -r controllers 2> /dev/null < @UNIFIED@/cgroup.controllers && [ -n "$controllers" ]; then
    exec unshare --mount /bin/sh -c 'umount @UNIFIED@ && exec "$0" "$@"' "$crun" "$@"
fi
exec "$crun" "$@"
"#;

const RUNSC: &str = r#"#!/bin/sh
# Written by `cargo xtask runtimes`.
# Sandboxes have no network of the daemon's, and runsc does not start with one inside a namespace of the daemon's making.
exec @PROGRAM@ --network=none "$@"
"#;

/// Returns text as one word of a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;

    use super::*;

    /// Runs a wrapper around a program that prints its arguments.
    fn words(folder: &Path, text: &str) -> String {
        let wrapper = folder.join("wrapper");
        write_whole(&wrapper, text, 0o755).unwrap();
        let ran = Command::new("/bin/sh")
            .arg(&wrapper)
            .args(["create", "a b", ""])
            .output();
        let ran = ran.unwrap();
        assert_eq!(String::from_utf8_lossy(&ran.stderr), "");
        String::from_utf8(ran.stdout).unwrap()
    }

    fn program(folder: &Path) -> PathBuf {
        let program = folder.join("it's a program");
        fs::write(&program, "#!/bin/sh\nprintf '[%s]' \"$@\"\n").unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        program
    }

    #[test]
    fn arguments_pass_through() {
        let folder = tempfile::tempdir().unwrap();
        let program = program(folder.path());
        let runsc = Wrapper::Runsc.text(&program);
        assert_eq!(words(folder.path(), &runsc), "[--network=none][create][a b][]");
        let program = quoted(&program.to_string_lossy());
        let unified = folder.path().join("unified");
        let crun = crun(&program, &unified.to_string_lossy());
        assert_eq!(words(folder.path(), &crun), "[create][a b][]");
        // A cgroup2 without controllers disturbs nobody.
        fs::create_dir(&unified).unwrap();
        fs::write(unified.join("cgroup.controllers"), "\n").unwrap();
        assert_eq!(words(folder.path(), &crun), "[create][a b][]");
    }
}
