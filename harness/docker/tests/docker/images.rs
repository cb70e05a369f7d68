//! Where images come from.

use std::collections::BTreeMap;
use std::sync::Arc;

use harness_core::ports::{ImageOrigin, SandboxError, SandboxProvider};
use harness_core::sandbox::ImageSource;
use harness_core::task::FileData;
use harness_docker::{BASE_IMAGES, DockerSettings};
use pretty_assertions::assert_eq;

use crate::support::{Bench, ask, busybox, sh, unique_run};

async fn refusal(bench: &Bench, image: ImageSource) -> SandboxError {
    let mut spec = busybox();
    spec.image = image;
    bench.provider.prepare(&spec, &BTreeMap::new()).await.unwrap_err()
}

#[tokio::test]
async fn images_that_cannot_be_had_are_missing_and_say_why() {
    let Some(bench) = Bench::open().await else { return };
    // Nobody listens on port 1 of this machine, and the daemon asks nobody else about this name.
    let error = refusal(&bench, ImageSource::Named("127.0.0.1:1/nothing:1".to_owned())).await;
    let SandboxError::ImageMissing { image, detail } = error else {
        panic!("{error}")
    };
    assert_eq!(image, "127.0.0.1:1/nothing:1");
    assert!(
        detail.contains("pulling it failed") && detail.contains("refused"),
        "{detail}"
    );
    let own = refusal(&bench, ImageSource::Named("harness/unknown:1".to_owned())).await;
    let expected = "image `harness/unknown:1` is missing: it is not one of the shipped base images \
                    (harness/busybox:1, harness/python:1), and names under harness/ are never pulled";
    assert_eq!(own.to_string(), expected);
}

#[tokio::test]
async fn the_busybox_image_is_made_here_and_is_listed() {
    let Some(bench) = Bench::open().await else { return };
    let image = bench.image(&busybox()).await;
    assert!(matches!(image.origin, ImageOrigin::Present | ImageOrigin::Made));
    let again = bench.image(&busybox()).await;
    assert_eq!((again.origin, &again.id), (ImageOrigin::Present, &image.id));
    let listed = bench.provider.list_images().await.unwrap();
    assert_eq!(listed.len(), BASE_IMAGES.len());
    assert_eq!(listed[0].id.as_deref(), Some(image.id.as_str()));
}

#[tokio::test]
async fn a_missing_busybox_says_what_to_install() {
    let settings = DockerSettings {
        busybox: "/no/busybox".into(),
        ..DockerSettings::default()
    };
    let Some(bench) = Bench::open_with(settings).await else {
        return;
    };
    let error = bench
        .provider
        .build_image(&BASE_IMAGES[0], &|_| {})
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "image `harness/busybox:1` is missing: /no/busybox: No such file or directory (os error 2); \
         install a static busybox with `apt-get install busybox-static`"
    );
}

#[tokio::test]
async fn an_image_is_built_once_from_a_dockerfile() {
    let Some(bench) = Bench::open().await else { return };
    let mut spec = busybox();
    spec.image = ImageSource::Build {
        context: "image".to_owned(),
        dockerfile: "Dockerfile".to_owned(),
    };
    let folder = |dockerfile: &str| -> BTreeMap<String, Arc<FileData>> {
        let file = |text: &str| {
            Arc::new(FileData {
                bytes: text.as_bytes().to_vec(),
                executable: false,
            })
        };
        [
            ("image/Dockerfile".to_owned(), file(dockerfile)),
            ("image/data.txt".to_owned(), file("42\n")),
        ]
        .into()
    };
    let unique = unique_run();
    let good = folder(&format!(
        "FROM harness/busybox:1\nCOPY data.txt /data.txt\nRUN ls /sys/class/net >/nets; echo {unique} >/unique\nENTRYPOINT [\"/bin/false\"]\n"
    ));
    let built = bench.provider.prepare(&spec, &good).await.unwrap();
    assert_eq!(built.origin, ImageOrigin::Built);
    let again = bench.provider.prepare(&spec, &good).await.unwrap();
    assert_eq!(
        (again.origin, &again.name, &again.id),
        (ImageOrigin::Present, &built.name, &built.id)
    );
    let mut request = bench.request(busybox(), Vec::new()).await;
    request.image = built.clone();
    let sandbox = bench.provider.start(&request).await.unwrap();
    let found = ask(&*sandbox, sh("cat /data.txt /nets")).await;
    sandbox.stop().await.unwrap();
    crate::support::remove_image(&built.name).await;
    assert_eq!(found, "42\nlo");
    let broken = folder(&format!(
        "FROM harness/busybox:1\nRUN echo the reason {unique} && exit 3\n"
    ));
    let error = bench.provider.prepare(&spec, &broken).await.unwrap_err();
    bench.close().await;
    let SandboxError::ImageBuild { detail, .. } = error else {
        panic!("{error}")
    };
    assert!(
        detail.contains("non-zero code: 3") && detail.contains(&format!("the reason {unique}")),
        "{detail}"
    );
}

#[tokio::test]
async fn the_default_user_needs_no_entry_in_the_image() {
    let Some(bench) = Bench::open().await else { return };
    let mut spec = busybox();
    spec.image = ImageSource::Build {
        context: "bare".to_owned(),
        dockerfile: "Dockerfile".to_owned(),
    };
    let unique = unique_run();
    let dockerfile = format!(
        "FROM harness/busybox:1\nRUN sed -i /agent/d /etc/passwd; rm -rf /home; echo {unique} >/unique\n"
    );
    let file = FileData {
        bytes: dockerfile.into_bytes(),
        executable: false,
    };
    let files = BTreeMap::from([("bare/Dockerfile".to_owned(), Arc::new(file))]);
    let image = bench.provider.prepare(&spec, &files).await.unwrap();
    let mut request = bench.request(busybox(), Vec::new()).await;
    request.spec = Arc::new(spec);
    request.image = image.clone();
    let sandbox = bench.provider.start(&request).await.unwrap();
    let found = ask(
        &*sandbox,
        sh("touch a && ls -n a | cut -c 1-10 && id -u && echo $HOME && pwd"),
    )
    .await;
    sandbox.stop().await.unwrap();
    crate::support::remove_image(&image.name).await;
    bench.close().await;
    assert_eq!(found, "-rw-r--r--\n1000\n/home/agent\n/home/agent");
}

#[tokio::test]
async fn an_unknown_user_is_refused() {
    let Some(bench) = Bench::open().await else { return };
    let mut stranger = busybox();
    stranger.user = "stranger".to_owned();
    let error = bench
        .provider
        .prepare(&stranger, &BTreeMap::new())
        .await
        .unwrap_err();
    assert_eq!(
        error,
        SandboxError::UnknownUser {
            user: "stranger".to_owned()
        }
    );
}

#[tokio::test]
async fn an_image_without_a_shell_is_told() {
    let Some(bench) = Bench::open().await else { return };
    let name = crate::support::import_empty_image(&unique_run()).await;
    let mut spec = busybox();
    spec.image = ImageSource::Named(name.clone());
    spec.user = "0".to_owned();
    let request = bench.request(spec, Vec::new()).await;
    let plain = crate::support::provider_with(crate::support::plain())
        .await
        .unwrap();
    let at_start = plain.start(&request).await.err().unwrap();
    // The helper needs no shell, but whoever runs a command does.
    let sandbox = bench.provider.start(&request).await.unwrap();
    let later = sandbox.exec(&sh("true")).await.unwrap_err();
    sandbox.stop().await.unwrap();
    bench.close().await;
    crate::support::remove_image(&name).await;
    assert_eq!(
        [at_start.name(), later.name()],
        ["no_shell"; 2],
        "{at_start} {later}"
    );
}
