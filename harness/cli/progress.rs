//! Shows a running run: bars on a terminal, a line every 30 seconds elsewhere.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use harness_core::units::format_duration;
use harness_runner::{PhaseProgress, Progress};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::sync::watch;

/// How often a line is written where there is no terminal.
const LINE: Duration = Duration::from_secs(30);
const DRAW: Duration = Duration::from_millis(200);

/// Follows a run until its view is closed.
pub(crate) async fn follow(view: watch::Receiver<Progress>) {
    if std::io::stderr().is_terminal() {
        draw(view).await;
    } else {
        lines(view).await;
    }
}

async fn draw(mut view: watch::Receiver<Progress>) {
    let bars = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(5));
    let style = bar_style();
    let mut phases: Vec<ProgressBar> = Vec::new();
    let status = bars.add(ProgressBar::new_spinner());
    loop {
        let progress = view.borrow_and_update().clone();
        while phases.len() < progress.phases.len() {
            let bar = bars.insert_before(&status, ProgressBar::new(0).with_style(style.clone()));
            phases.push(bar);
        }
        for (bar, phase) in phases.iter().zip(&progress.phases) {
            bar.set_prefix(phase.id.to_string());
            bar.set_length(u64::from(phase.total));
            bar.set_position(u64::from(phase.done));
            bar.set_message(counts(phase));
        }
        status.set_message(state(&progress));
        status.tick();
        tokio::time::sleep(DRAW).await;
        if view.changed().await.is_err() {
            break;
        }
    }
    status.finish_and_clear();
    for bar in phases {
        bar.abandon();
    }
}

async fn lines(mut view: watch::Receiver<Progress>) {
    let mut shown: Option<String> = None;
    loop {
        let sleep = tokio::time::sleep(LINE);
        tokio::pin!(sleep);
        let closed = loop {
            tokio::select! {
                () = &mut sleep => break false,
                changed = view.changed() => if changed.is_err() { break true },
            }
        };
        if closed {
            return;
        }
        let progress = view.borrow_and_update().clone();
        let (done, total) = progress.done_of_total();
        let text = format!("{done}/{total} trials; {}\n", state(&progress));
        if shown.as_ref() != Some(&text) {
            crate::warn(&text);
            shown = Some(text);
        }
    }
}

/// Steps of a computation: a bar on a terminal once it takes longer than a moment, a line every 30 seconds elsewhere.
pub(crate) struct Counting {
    what: &'static str,
    done: u64,
    total: u64,
    began: Instant,
    told: Instant,
    bar: Option<ProgressBar>,
}

/// What a computation may take before anything is shown.
const MOMENT: Duration = Duration::from_millis(500);

impl Counting {
    pub(crate) fn new(what: &'static str, total: u64) -> Self {
        let now = Instant::now();
        Self {
            what,
            done: 0,
            total,
            began: now,
            told: now,
            bar: None,
        }
    }

    pub(crate) fn advance(&mut self, steps: u64) {
        self.done += steps;
        if std::io::stderr().is_terminal() {
            if self.bar.is_none() && self.began.elapsed() > MOMENT {
                let bar =
                    ProgressBar::with_draw_target(Some(self.total), ProgressDrawTarget::stderr_with_hz(5));
                self.bar = Some(bar.with_style(bar_style()).with_prefix(self.what));
            }
            if let Some(bar) = &self.bar {
                bar.set_position(self.done);
            }
        } else if self.told.elapsed() > LINE {
            self.told = Instant::now();
            crate::warn(&format!("{}/{} {}\n", self.done, self.total, self.what));
        }
    }

    pub(crate) fn end(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

fn bar_style() -> ProgressStyle {
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let colour = if plain { "" } else { ".cyan" };
    let template = format!("{{prefix:>14}} [{{bar:30{colour}}}] {{pos}}/{{len}} {{msg}}");
    let style = ProgressStyle::with_template(&template);
    style
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}

fn counts(phase: &PhaseProgress) -> String {
    let mut text = format!("{} of {} scored succeeded", phase.successes, phase.scored);
    if phase.void > 0 {
        text = format!("{text}, {} void", phase.void);
    }
    text
}

fn state(progress: &Progress) -> String {
    if let Some(preparing) = &progress.preparing {
        return format!("preparing: {preparing}");
    }
    let mut parts = vec![format!("{} running", progress.running)];
    if progress.backing_off > 0 {
        parts.push(format!("{} to be tried again", progress.backing_off));
    }
    if let Some(waiting) = &progress.waiting_for {
        parts.push(format!("waiting for {waiting}"));
    }
    parts.push(format!("{} tokens", progress.usage.total()));
    parts.push(
        progress
            .cost
            .map_or_else(|| "cost unknown".to_owned(), |cost| cost.to_string()),
    );
    parts.push(format!("{} passed", format_duration(whole(progress.elapsed))));
    if let Some(left) = progress.time_left() {
        parts.push(format!("about {} left", format_duration(whole(left))));
    }
    if progress.since_last > Duration::from_secs(60) {
        parts.push(format!(
            "no trial ended for {}",
            format_duration(whole(progress.since_last))
        ));
    }
    parts.join(", ")
}

fn whole(duration: Duration) -> Duration {
    Duration::from_secs(duration.as_secs())
}
