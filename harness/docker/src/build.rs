//! Images built from a task's Dockerfile.
//!
//! Owns: the content-addressed name, the context, and the classic builder. Must not: give a build a network.

use std::collections::BTreeMap;
use std::sync::Arc;

use bollard::query_parameters::BuildImageOptionsBuilder;
use bytes::Bytes;
use futures_util::StreamExt;
use harness_core::ids::Digest;
use harness_core::ports::{ImageOrigin, PreparedImage, SandboxError};
use harness_core::task::FileData;
use harness_core::text::Capture;

use crate::base::is_base_name;
use crate::errors::About;
use crate::provider::DockerProvider;
use crate::tarball::{Owner, Tarball};

const BUILD_TIMEOUT: std::time::Duration = std::time::Duration::from_hours(1);
const KEPT_OUTPUT: usize = 8192;
const LABEL_BUILT: &str = "harness.image";

impl DockerProvider {
    /// Makes sure that the image of a folder with a Dockerfile is there.
    pub(crate) async fn build_task_image(
        &self,
        context: &str,
        dockerfile: &str,
        files: &BTreeMap<String, Arc<FileData>>,
    ) -> Result<PreparedImage, SandboxError> {
        let context_files = in_context(context, files);
        let failed = |detail: String| SandboxError::ImageBuild {
            image: format!("{context}/{dockerfile}"),
            detail,
        };
        let Some(recipe) = context_files.get(dockerfile) else {
            return Err(failed(format!(
                "there is no {dockerfile} in the task's folder {context}"
            )));
        };
        let mut parts = vec![dockerfile.as_bytes().to_vec()];
        for base in base_names(&String::from_utf8_lossy(&recipe.bytes)) {
            if base.starts_with("harness/") && !is_base_name(&base) {
                return Err(failed(format!(
                    "its FROM names `{base}`, which is not a shipped base image"
                )));
            }
            if is_base_name(&base) {
                parts.push(self.prepare_named(&base).await?.id.into_bytes());
            }
        }
        for (path, data) in &context_files {
            parts.extend([
                path.as_bytes().to_vec(),
                vec![u8::from(data.executable)],
                data.bytes.clone(),
            ]);
        }
        let digest = Digest::of_parts(parts.iter().map(Vec::as_slice));
        let name = format!("harness-task/{}:{}", tag_part(context), digest.short());
        let maker = self.shared.maker(&name);
        let _only_one = maker.lock().await;
        if self.shared.find_image(&name).await?.is_some() {
            return self.found(&name, ImageOrigin::Present).await;
        }
        let archive = pack(&context_files).map_err(|error| failed(error.to_string()))?;
        self.build(&name, dockerfile, digest, archive).await?;
        self.found(&name, ImageOrigin::Built).await
    }

    async fn build(
        &self,
        name: &str,
        dockerfile: &str,
        digest: Digest,
        archive: Vec<u8>,
    ) -> Result<(), SandboxError> {
        let labels = std::collections::HashMap::from([(LABEL_BUILT.to_owned(), digest.to_string())]);
        let options = BuildImageOptionsBuilder::new()
            .dockerfile(dockerfile)
            .t(name)
            .rm(true)
            .forcerm(true)
            .networkmode("none")
            .labels(&labels)
            .build();
        let docker = self.shared.docker.clone().with_timeout(BUILD_TIMEOUT);
        let body = bollard::body_full(Bytes::from(archive));
        let mut steps = docker.build_image(options, None, Some(body));
        let mut output = Capture::new(KEPT_OUTPUT);
        while let Some(step) = steps.next().await {
            match step {
                Ok(info) => {
                    let text = info.stream.or(info.status).unwrap_or_default();
                    tracing::debug!(image = name, "{}", text.trim_end());
                    output.push(text.as_bytes());
                }
                Err(error) => {
                    let said = match self.shared.error(&error, "build an image", About::Image(name)) {
                        SandboxError::Daemon { detail, .. } | SandboxError::ImageMissing { detail, .. } => {
                            detail
                        }
                        other => return Err(other),
                    };
                    let shown = output.finish().readable(KEPT_OUTPUT).text;
                    return Err(SandboxError::ImageBuild {
                        image: name.to_owned(),
                        detail: format!("{said}\n{}", shown.trim_end()),
                    });
                }
            }
        }
        Ok(())
    }
}

fn in_context(context: &str, files: &BTreeMap<String, Arc<FileData>>) -> BTreeMap<String, Arc<FileData>> {
    let folder = context.trim_matches('/').trim_start_matches("./");
    let inside = files.iter().filter_map(|(path, data)| {
        let path = match folder {
            "" | "." => path.as_str(),
            _ => path.strip_prefix(folder)?.strip_prefix('/')?,
        };
        Some((path.to_owned(), Arc::clone(data)))
    });
    inside.collect()
}

/// Returns the images that a Dockerfile starts from; not the names of its own stages.
fn base_names(dockerfile: &str) -> Vec<String> {
    let mut stages = Vec::new();
    let mut names = Vec::new();
    for line in dockerfile.lines() {
        let mut words = line.split_whitespace();
        if !words.next().is_some_and(|word| word.eq_ignore_ascii_case("from")) {
            continue;
        }
        let rest: Vec<_> = words.filter(|word| !word.starts_with("--")).collect();
        if let Some(name) = rest.first().filter(|name| !stages.contains(*name)) {
            names.push((*name).to_owned());
        }
        if let [_, word, stage, ..] = rest.as_slice()
            && word.eq_ignore_ascii_case("as")
        {
            stages.push(stage);
        }
    }
    names
}

fn tag_part(context: &str) -> String {
    let last = context.trim_matches('/').rsplit('/').next().unwrap_or_default();
    let plain = |c: &char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let name: String = last.to_ascii_lowercase().chars().filter(plain).take(40).collect();
    if name.is_empty() { "task".to_owned() } else { name }
}

fn pack(files: &BTreeMap<String, Arc<FileData>>) -> std::io::Result<Vec<u8>> {
    let mut tarball = Tarball::new();
    for (path, data) in files {
        let mode = if data.executable { 0o755 } else { 0o644 };
        tarball.file(path, mode, Owner::ROOT, &data.bytes)?;
    }
    tarball.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use pretty_assertions::assert_eq;

    #[test]
    fn stages_are_not_images() {
        let text = "# FROM x\nFROM --platform=linux/amd64 harness/python:1 AS one\nRUN true\nfrom one\nFROM debian:12 as two\nFROM two";
        assert_eq!(base_names(text), ["harness/python:1", "debian:12"]);
    }

    #[test]
    fn a_context_is_the_folder_without_its_name() {
        let data = Arc::new(FileData {
            bytes: Vec::new(),
            executable: false,
        });
        let files = ["image/Dockerfile", "image/a/b", "imagex/c", "task.yaml"];
        let files = files
            .iter()
            .map(|path| ((*path).to_owned(), Arc::clone(&data)))
            .collect();
        let names = |context| in_context(context, &files).into_keys().collect::<Vec<_>>();
        assert_eq!(names("image"), ["Dockerfile", "a/b"]);
        assert_eq!(names("./image/"), ["Dockerfile", "a/b"]);
        assert_eq!(
            names("."),
            ["image/Dockerfile", "image/a/b", "imagex/c", "task.yaml"]
        );
        assert_eq!(
            [tag_part("image"), tag_part("."), tag_part("a/My_Env")],
            ["image", "task", "myenv"]
        );
    }
}
