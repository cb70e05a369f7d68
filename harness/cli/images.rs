//! Base images.

use harness_core::ports::SandboxError;
use harness_docker::{BASE_IMAGES, DockerProvider, DockerSettings};

use crate::args::{ImagesAction, ImagesArgs};
use crate::exit::{Exit, Failure};
use crate::plan_view::aligned;

/// Connects to the daemon that the environment names.
pub(crate) async fn connect() -> Result<DockerProvider, Failure> {
    let settings = DockerSettings {
        host: std::env::var("DOCKER_HOST").ok(),
        ..DockerSettings::default()
    };
    DockerProvider::connect(settings)
        .await
        .map_err(|error| no_daemon(&error))
}

fn no_daemon(error: &SandboxError) -> Failure {
    Failure::ours("no sandbox can be started", error).hint(
        "start the Docker daemon (on Debian: `systemctl start docker`), or set DOCKER_HOST to its socket",
    )
}

/// `harness images`
pub(crate) async fn images(args: ImagesArgs) -> Result<Exit, Failure> {
    let provider = connect().await?;
    match args.action.unwrap_or(ImagesAction::List) {
        ImagesAction::List => list(&provider).await,
        ImagesAction::Build { names, force } => build(&provider, &names, force).await,
    }
}

async fn list(provider: &DockerProvider) -> Result<Exit, Failure> {
    let listed = provider
        .list_images()
        .await
        .map_err(|error| Failure::ours("failed to list the images", error))?;
    let mut rows = vec![["image", "state", "size", "what is in it"].map(str::to_owned)];
    for status in listed {
        let state = match (&status.id, status.current) {
            (None, _) => "missing",
            (Some(_), true) => "there",
            (Some(_), false) => "there, from another recipe",
        };
        let size = harness_core::units::Bytes(status.size).to_string();
        rows.push([
            status.image.name.to_owned(),
            state.to_owned(),
            size,
            status.image.about.to_owned(),
        ]);
    }
    crate::print(&aligned(&rows))?;
    Ok(Exit::Clear)
}

async fn build(provider: &DockerProvider, names: &[String], force: bool) -> Result<Exit, Failure> {
    if let Some(unknown) = names
        .iter()
        .find(|name| BASE_IMAGES.iter().all(|image| image.name != name.as_str()))
    {
        let known: Vec<&str> = BASE_IMAGES.iter().map(|image| image.name).collect();
        return Err(Failure::input(format!("`{unknown}` is not a base image"))
            .hint(format!("the base images are {}", known.join(", "))));
    }
    let listed = provider
        .list_images()
        .await
        .map_err(|error| Failure::ours("failed to list the images", error))?;
    for status in listed {
        let wanted = names.is_empty() || names.iter().any(|name| name == status.image.name);
        if !wanted || (status.id.is_some() && !force) {
            continue;
        }
        crate::warn(&format!(
            "making {} ({})\n",
            status.image.name, status.image.about
        ));
        let progress = |line: &str| crate::warn(&format!("  {}\n", harness_core::text::printable(line)));
        let image = provider
            .build_image(status.image, &progress)
            .await
            .map_err(|error| Failure::ours(&format!("failed to make {}", status.image.name), error))?;
        crate::print(&format!("{} {}\n", image.name, image.id))?;
    }
    Ok(Exit::Clear)
}
