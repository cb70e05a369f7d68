//! The tools of an agent in its sandbox.

use harness_core::event::AttemptEvent;
use harness_core::text::Capped;
use pretty_assertions::assert_eq;
use serde_json::{Value, json};

use crate::models::{calls, model, now, shown, submits};
use crate::sandbox::{Files, Provider, exits, prints};
use crate::world::{World, task};

const TOOLS: &str = "sandbox: {image: img, network: none}\ntools: [bash, python, edit, read_file, submit]\n\
                     score: {answer: {match: exact}}\n";

/// Plays the shell scripts of the file tools.
fn shell(files: &mut Files, argv: &[String], stdin: Option<&[u8]>) -> (i32, String) {
    let path = &argv[3];
    match (stdin, files.get(path)) {
        (Some(bytes), _) => {
            files.insert(path.clone(), bytes.to_vec());
            (0, String::new())
        }
        (None, Some(bytes)) => (0, String::from_utf8(bytes.clone()).unwrap()),
        (None, None) => (1, String::new()),
    }
}

/// Makes these calls one by one; returns what the model saw.
async fn made(calls_made: Vec<(&'static str, Value)>) -> Vec<String> {
    let seen: std::sync::Arc<std::sync::Mutex<Vec<String>>> = std::sync::Arc::default();
    let client = {
        let seen = std::sync::Arc::clone(&seen);
        model(move |request| {
            let turn = request.origin.turn as usize;
            if turn > 0 {
                seen.lock().unwrap().push(shown(request).pop().unwrap());
            }
            now(calls_made
                .get(turn)
                .map_or_else(|| submits("right"), |call| calls([call.clone()])))
        })
    };
    let provider = Provider::new(|files, request| {
        let (code, text) = shell(files, &request.argv, request.stdin.as_deref());
        exits(code, &text)
    });
    let world = World::new("", vec![task("a", 1, TOOLS)], client, provider);
    world.run().await.unwrap();
    let seen = seen.lock().unwrap();
    seen.clone()
}

#[tokio::test(start_paused = true)]
async fn files_are_written_changed_and_read() {
    let edit = |more: Value| {
        let mut call = json!({"path": "/f"});
        call.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        ("edit", call)
    };
    let seen = made(vec![
        edit(json!({"action": "create", "text": "one\ntwo\n"})),
        edit(json!({"action": "replace", "old": "two", "new": "2"})),
        edit(json!({"action": "insert", "line": 0, "new": "zero"})),
        edit(json!({"action": "replace", "old": "none", "new": ""})),
        ("read_file", json!({"path": "/f"})),
        ("read_file", json!({"path": "/g"})),
    ])
    .await;
    let expected = [
        "/f is written; it has 2 lines now",
        "/f is written; it has 2 lines now",
        "/f is written; it has 3 lines now",
        "`old` does not occur in the file; nothing was changed",
    ];
    assert_eq!(seen[..4], expected);
    for line in ["zero", "one", "2"] {
        assert!(seen[4].contains(line), "{}", seen[4]);
    }
    assert!(seen[5].contains("exit code 1"), "{}", seen[5]);
}

#[tokio::test(start_paused = true)]
async fn long_output_is_cut_for_the_model_and_kept_in_a_blob() {
    for length in [20_000_usize, 3 << 20] {
        let output = "0123456789".repeat(length / 10);
        let body = format!("{TOOLS}limits: {{tool_output: 1KiB}}\n");
        let client = model(|request| {
            now(match request.origin.turn {
                0 => calls([("python", json!({"code": "print()"}))]),
                _ => {
                    let last = shown(request).pop().unwrap();
                    assert!(last.len() < 1100 && last.contains("bytes cut"), "{}", last.len());
                    submits("right")
                }
            })
        });
        let printed = output.clone();
        let provider = Provider::new(move |_, request| {
            assert_eq!(request.stdin.as_deref(), Some("print()".as_bytes()));
            prints(&printed)
        });
        let world = World::new("", vec![task("a", 1, &body)], client, provider);
        world.run().await.unwrap();
        let returned = world.transcript(0, 1).into_iter().find_map(|event| match event {
            AttemptEvent::ToolReturned { output, .. } => Some(output),
            _ => None,
        });
        let Capped { cut, blob, .. } = returned.unwrap();
        assert_eq!(usize::try_from(cut).unwrap(), output.len() - 1024);
        let kept = world.store.blob(blob.unwrap()).unwrap();
        // Up to a megabyte is kept whole; of more, the beginning and the end.
        assert_eq!(kept == output.as_bytes(), length < 1 << 20);
        assert!(kept.len() < (1 << 20) + 100, "{}", kept.len());
    }
}
