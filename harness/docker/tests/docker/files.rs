//! Files in and out.

use harness_core::ports::{FileContent, FileProblem, SandboxError};
use harness_core::units::Bytes;
use pretty_assertions::assert_eq;

use crate::support::{Bench, ask, busybox, in_sandbox, put, root, sh};

const LISTING: &str = "stat -c '%n %A %U:%G'";

#[tokio::test]
async fn files_are_there_before_anything_runs() {
    let Some(bench) = Bench::open().await else { return };
    let files = vec![
        put("/home/agent/in/deep/data.txt", "hello"),
        put("/home/agent/run.sh", "#!/bin/sh\necho ran"),
        put("/opt/task/notes.txt", "notes"),
    ];
    let request = bench.request(busybox(), files).await;
    let sandbox = harness_core::ports::SandboxProvider::start(&bench.provider, &request)
        .await
        .unwrap();
    let listing = format!(
        "cd; {LISTING} . in in/deep in/deep/data.txt run.sh /opt/task /opt/task/notes.txt; ./run.sh; cat in/deep/data.txt"
    );
    let expected = "\
. drwxr-xr-x agent:agent
in drwxr-xr-x agent:agent
in/deep drwxr-xr-x agent:agent
in/deep/data.txt -rw-r--r-- agent:agent
run.sh -rwxr-xr-x agent:agent
/opt/task drwxr-xr-x root:root
/opt/task/notes.txt -rw-r--r-- root:root
ran
hello";
    let found = ask(&*sandbox, sh(&listing)).await;
    sandbox.stop().await.unwrap();
    bench.close().await;
    assert_eq!(found, expected);
}

#[tokio::test]
async fn a_workdir_that_the_image_lacks_is_made() {
    let mut spec = busybox();
    spec.workdir = "/work/here".to_owned();
    in_sandbox(spec, async |sandbox| {
        assert_eq!(
            ask(&*sandbox, sh("pwd; stat -c %U .; touch x; ls")).await,
            "/work/here\nagent\nx"
        );
    })
    .await;
}

#[tokio::test]
async fn writing_replaces_what_the_agent_planted() {
    in_sandbox(busybox(), async |sandbox| {
        ask(&*sandbox, root("echo precious >/opt-file; mkdir /opt-dir")).await;
        ask(&*sandbox, sh("ln -s /opt-dir sub; ln -s /opt-file plain")).await;
        sandbox
            .write(&[
                put("/home/agent/sub/x", "1"),
                put("/home/agent/plain", "2"),
                put("/score/y", "3"),
            ])
            .await
            .unwrap();
        let check = "cat sub/x plain /score/y /opt-file | tr '\\n' ' '; ls /opt-dir | wc -l; stat -c %F sub";
        assert_eq!(ask(&*sandbox, sh(check)).await, "123precious 0\ndirectory");
    })
    .await;
}

#[tokio::test]
async fn reading_is_bounded_and_takes_only_files() {
    in_sandbox(busybox(), async |sandbox| {
        ask(&*sandbox, sh("printf 'a\\000b' >f; : >empty; ln -s /etc/passwd link; mkfifo pipe; mkdir d; dd if=/dev/zero of=sparse bs=1 count=0 seek=50M 2>/dev/null")).await;
        let cap = Bytes(100);
        let whole = FileContent { bytes: b"a\0b".to_vec(), size: 3 };
        assert_eq!(sandbox.read("/home/agent/f", cap).await, Ok(whole));
        assert_eq!(sandbox.read("/home/agent/empty", cap).await, Ok(FileContent { bytes: Vec::new(), size: 0 }));
        let sparse = sandbox.read("/home/agent/sparse", cap).await.unwrap();
        assert_eq!((sparse.bytes.len(), sparse.size), (100, 50 << 20));
        let cases = [
            ("/home/agent/link", FileProblem::NotRegular),
            ("/home/agent/pipe", FileProblem::NotRegular),
            ("/home/agent/d", FileProblem::NotRegular),
            ("/home/agent/nothing", FileProblem::Missing),
            ("/home/agent/f/below", FileProblem::Missing),
            ("f", FileProblem::BadPath),
            ("/home/../etc/passwd", FileProblem::BadPath),
        ];
        for (path, problem) in cases {
            let expected = SandboxError::File { path: path.to_owned(), problem };
            assert_eq!(sandbox.read(path, cap).await, Err(expected));
        }
    })
    .await;
}
