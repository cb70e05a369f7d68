//! `harness gc`: what crashed runs left behind, and sandboxes that were kept.

use harness_core::ids::RunId;
use harness_core::ports::{KeepReason, SandboxError, SandboxProvider as _, SweepScope, Swept};
use harness_core::text::printable;
use harness_docker::{DockerProvider, KeptContainer};
use harness_store::{ResultsLock, RunDir};

use crate::args::GcArgs;
use crate::exit::{Exit, Failure};
use crate::images::connect;
use crate::run::breached_attempts;
use crate::run_dir;

/// `harness gc`: what belongs to runs of this results folder that no process works on, and everything that is past
/// its expiry. Other results folders may have runs that go on; only `--all` takes theirs.
pub(crate) async fn gc(args: GcArgs) -> Result<Exit, Failure> {
    let provider = connect().await?;
    let holder = ResultsLock::holder(&args.results.results);
    let live = holder.as_ref().and_then(|holder| holder.run.clone());
    let runs = runs_of(&args)?;
    let mut scopes = vec![SweepScope::Expired(crate::clock::wall())];
    if holder.is_some() && live.is_none() {
        crate::warn(
            "a process begins to work in the results folder: only what is past its expiry is removed\n",
        );
    } else if args.all {
        scopes.push(SweepScope::AllBut(live.into_iter().collect()));
    } else {
        let ended = runs.iter().filter(|run| live.as_ref() != Some(run)).cloned();
        scopes.extend(ended.map(SweepScope::Run));
    }
    if !args.dry_run {
        keep_evidence(&provider, &args).await?;
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
    removed.containers += take_kept(&provider, &args, &runs).await?;
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

/// Puts into quarantine what attempts with a containment event left, where that failed when they ended.
async fn keep_evidence(provider: &DockerProvider, args: &GcArgs) -> Result<(), Failure> {
    for stored in run_dir::all(&args.results.results)? {
        let breached = breached_attempts(&stored.view);
        let kept = provider.quarantine(&stored.name(), &breached).await;
        kept.map_err(|error| Failure::ours("failed to keep what a containment event left", error))?;
    }
    Ok(())
}

fn runs_of(args: &GcArgs) -> Result<Vec<RunId>, Failure> {
    let runs = RunDir::all(&args.results.results)?;
    let names = runs.iter().filter_map(|run| run.path().file_name());
    Ok(names.map(|name| RunId::new(name.to_string_lossy())).collect())
}

/// Removes the kept sandboxes that may be removed, and tells of all others. Returns how many were removed.
async fn take_kept(provider: &DockerProvider, args: &GcArgs, runs: &[RunId]) -> Result<u32, Failure> {
    let failed = |error: SandboxError| Failure::ours("failed to remove a kept sandbox", error);
    let mut removed = 0;
    for kept in provider.kept().await.map_err(failed)? {
        let ours = args.all || runs.iter().any(|run| run.as_str() == kept.run);
        let expired = kept.expires.is_some_and(|expires| expires < crate::clock::wall());
        let taken = match kept.reason {
            KeepReason::Asked => expired || (ours && args.kept),
            KeepReason::Quarantine => ours && args.quarantined,
        };
        match (taken, args.dry_run) {
            (true, true) => crate::print(&described(&kept, ""))?,
            (true, false) => {
                provider.remove_kept(&kept).await.map_err(failed)?;
                removed += 1;
            }
            (false, _) if ours => {
                let flag = match kept.reason {
                    KeepReason::Asked => "; --kept removes it",
                    KeepReason::Quarantine => "; --quarantined removes it",
                };
                crate::warn(&described(&kept, flag));
            }
            (false, _) if kept.reason == KeepReason::Quarantine => {
                let flag = ", and its results are not here; --all --quarantined removes it";
                crate::warn(&described(&kept, flag));
            }
            // Somebody else's, which expires.
            (false, _) => {}
        }
    }
    Ok(removed)
}

fn described(kept: &KeptContainer, more: &str) -> String {
    let why = match kept.reason {
        KeepReason::Asked => "kept on request",
        KeepReason::Quarantine => "in quarantine",
    };
    let what = if kept.service { "service" } else { "sandbox" };
    printable(&format!(
        "{what} {} of {} ({}) is {why}{more}\n",
        kept.name, kept.run, kept.attempt
    ))
}
