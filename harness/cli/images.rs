//! Base images, and what crashed runs left behind.

use harness_core::ids::RunId;
use harness_core::ports::{SandboxError, SandboxProvider as _, SweepScope, Swept};
use harness_docker::{BASE_IMAGES, DockerProvider, DockerSettings};
use harness_store::{ResultsLock, RunDir};

use crate::args::{GcArgs, ImagesAction, ImagesArgs};
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

/// `harness gc`: what belongs to runs of this results folder that no process works on, and everything that is past
/// its expiry. Other results folders may have runs that go on; only `--all` takes theirs.
pub(crate) async fn gc(args: GcArgs) -> Result<Exit, Failure> {
    let provider = connect().await?;
    let mut scopes = vec![SweepScope::Expired(crate::clock::wall())];
    let holder = ResultsLock::holder(&args.results.results);
    let live = holder.as_ref().and_then(|holder| holder.run.clone());
    if holder.is_some() && live.is_none() {
        crate::warn(
            "a process begins to work in the results folder: only what is past its expiry is removed\n",
        );
    } else if args.all {
        scopes.push(SweepScope::AllBut(live.into_iter().collect()));
    } else {
        let runs = RunDir::all(&args.results.results)?;
        let names = runs
            .iter()
            .filter_map(|run| run.path().file_name())
            .map(|name| RunId::new(name.to_string_lossy()));
        scopes.extend(
            names
                .filter(|run| live.as_ref() != Some(run))
                .map(SweepScope::Run),
        );
    }
    let mut removed = Swept::default();
    for scope in &scopes {
        let failed = |error: SandboxError| Failure::ours("failed to remove what was left behind", error);
        if args.dry_run {
            for leftover in provider.leftovers(scope).await.map_err(failed)? {
                let kind = format!("{:?}", leftover.kind).to_lowercase();
                let line = format!(
                    "{kind} {} of {} ({})\n",
                    leftover.id, leftover.run, leftover.attempt
                );
                crate::print(&harness_core::text::printable(&line))?;
            }
            continue;
        }
        let swept = provider.sweep(scope).await.map_err(failed)?;
        removed.containers += swept.containers;
        removed.networks += swept.networks;
        removed.volumes += swept.volumes;
    }
    if !args.dry_run {
        let Swept {
            containers,
            networks,
            volumes,
        } = removed;
        crate::print(&format!(
            "removed {containers} containers, {networks} networks, {volumes} volumes\n"
        ))?;
    }
    Ok(Exit::Clear)
}
