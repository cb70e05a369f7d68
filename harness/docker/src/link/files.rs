//! Files over the stream.

use harness_core::ports::{FileContent, FileProblem, PutFile, SandboxError};
use harness_guest::{Entry, FileRead, FileWrite, Identity, PIECE, Problem, ProblemKind, ToGuest};
use tokio::sync::oneshot;

use super::stream::{Broken, Link};
use super::table::{Asked, FileBeginning, Listing, Reading};

impl Link {
    /// Reads the beginning of a regular file.
    pub(crate) async fn read_file(
        &self,
        path: &str,
        user: Identity,
        cap: u64,
    ) -> Result<FileContent, SandboxError> {
        let (answer, found) = oneshot::channel();
        let id = self.number();
        let so_far = FileBeginning {
            cap,
            ..FileBeginning::default()
        };
        self.enter(id, Asked::File(Reading { so_far, answer }));
        self.send(ToGuest::Read(FileRead {
            id,
            path: path.to_owned(),
            user,
            cap,
        }));
        let found = self.answer(found).await.map_err(SandboxError::from)?;
        let file = found.map_err(|problem| file_error(path, problem))?;
        Ok(FileContent {
            size: file.size.unwrap_or_default().max(file.bytes.len() as u64),
            bytes: file.bytes,
        })
    }

    /// Puts a file.
    pub(crate) async fn write_file(
        &self,
        file: &PutFile,
        home: &str,
        user: &Identity,
    ) -> Result<(), SandboxError> {
        let (answer, done) = oneshot::channel();
        let id = self.number();
        self.enter(id, Asked::Deed(answer));
        self.send(ToGuest::Write(FileWrite {
            id,
            path: file.path.clone(),
            mode: if file.data.executable { 0o755 } else { 0o644 },
            home: home.to_owned(),
            user: user.clone(),
        }));
        for piece in file.data.bytes.chunks(PIECE) {
            let bytes = piece.to_vec();
            self.send(ToGuest::WriteData { id, bytes });
        }
        self.send(ToGuest::WriteEnd { id });
        let done = self.answer(done).await.map_err(SandboxError::from)?;
        done.map_err(|problem| file_error(&file.path, problem))
    }

    /// Lists a folder as somebody; `None` if that one may not, or if it is none.
    pub(crate) async fn list(&self, path: &str, user: &Identity) -> Result<Option<Vec<Entry>>, SandboxError> {
        let message = |id| ToGuest::List {
            id,
            path: path.to_owned(),
            user: user.clone(),
        };
        self.entries(None, message).await
    }

    /// Looks at a path as somebody.
    pub(crate) async fn stat(&self, path: &str, user: &Identity) -> Result<Option<Entry>, SandboxError> {
        let message = |id| ToGuest::Stat {
            id,
            path: path.to_owned(),
            user: user.clone(),
        };
        let found = self.entries(Some(path), message).await?;
        Ok(found.and_then(|mut entries| entries.pop()))
    }

    async fn entries(
        &self,
        only: Option<&str>,
        message: impl Fn(u32) -> ToGuest,
    ) -> Result<Option<Vec<Entry>>, SandboxError> {
        let (answer, found) = oneshot::channel();
        let id = self.number();
        let so_far = Listing {
            only: only.map(str::to_owned),
            ..Listing::default()
        };
        self.enter(id, Asked::Entries(Reading { so_far, answer }));
        self.send(message(id));
        let found = self.answer(found).await.map_err(SandboxError::from)?;
        Ok(found.ok().map(|listing| listing.entries))
    }

    /// Kills everything but the helper.
    pub(crate) async fn kill_all(&self) -> Result<(), SandboxError> {
        let (answer, done) = oneshot::channel();
        let id = self.number();
        self.enter(id, Asked::Deed(answer));
        self.send(ToGuest::KillAll { id });
        let done = self.answer(done).await.map_err(SandboxError::from)?;
        done.map_err(|problem| SandboxError::Daemon {
            operation: "kill everything in a sandbox".to_owned(),
            detail: problem.text,
        })
    }
}

fn file_error(path: &str, problem: Problem) -> SandboxError {
    let of_file = |problem| SandboxError::File {
        path: path.to_owned(),
        problem,
    };
    match problem.kind {
        ProblemKind::Missing => of_file(FileProblem::Missing),
        ProblemKind::WrongKind => of_file(FileProblem::NotRegular),
        ProblemKind::Denied => of_file(FileProblem::Denied),
        ProblemKind::DiskFull => of_file(FileProblem::NoSpace),
        ProblemKind::Survivors | ProblemKind::Other => SandboxError::Daemon {
            operation: format!("reach the file {path} in a sandbox"),
            detail: problem.text,
        },
    }
}

impl From<Broken> for SandboxError {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Ended(detail) => Self::Gone {
                out_of_memory: false,
                detail,
            },
            Broken::Breach(evidence) => Self::Breached {
                breach: "forged_frame".to_owned(),
                evidence,
            },
        }
    }
}
