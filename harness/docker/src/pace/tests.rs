//! The pace of calls, over answers that are written down.

use std::sync::Arc;

use pretty_assertions::assert_eq;

use super::*;

fn busy() -> SandboxError {
    SandboxError::Daemon {
        operation: "start a sandbox".to_owned(),
        detail: "busy".to_owned(),
    }
}

fn unreachable() -> SandboxError {
    SandboxError::DaemonUnreachable {
        address: "/nowhere".to_owned(),
        detail: "refused".to_owned(),
    }
}

const T0: Duration = Duration::ZERO;
const NOW: Admission = Admission::Now { probe: false };

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// Makes so many calls at once, as wide as it goes, each of which takes this long.
fn rounds(state: &mut State, count: usize, millis: u64) {
    for _ in 0..count {
        let mut open = 0;
        while state.admit(T0) == NOW {
            open += 1;
        }
        for _ in 0..open {
            state.ended(T0, false, Health::Works, Some(Duration::from_millis(millis)));
        }
    }
}

fn fail(state: &mut State, now: Duration) -> Option<(Duration, SandboxError)> {
    let Admission::Now { probe } = state.admit(now) else {
        panic!("held back")
    };
    state.ended(now, probe, Health::Struggles(busy()), None)
}

#[test]
fn the_width_grows_by_one_a_round_and_shrinks_when_starts_become_slow() {
    let mut state = State::new(4);
    let mut widths = vec![state.width()];
    for millis in [50, 55, 52, 100, 149] {
        rounds(&mut state, 1, millis);
        widths.push(state.width());
    }
    assert_eq!(
        widths,
        [4, 5, 6, 7, 8, 9],
        "149 ms is slower than the best, but not slow"
    );
    let mut widths = Vec::new();
    while state.width() > 1 {
        rounds(&mut state, 1, 900);
        widths.push(state.width());
    }
    assert_eq!(widths, [6, 4, 4, 2, 2, 2, 2, 2, 1]);
    rounds(&mut state, 8, 900);
    assert_eq!(state.width(), 1, "it takes as long alone");
    rounds(&mut state, 3, 900);
    assert_eq!(state.width(), 4, "so that is its usual pace now");
}

#[test]
fn a_width_that_nobody_uses_does_not_grow() {
    let mut state = State::new(4);
    for _ in 0..50 {
        assert_eq!(state.admit(T0), NOW);
        state.ended(T0, false, Health::Works, Some(seconds(1)));
    }
    assert_eq!(state.width(), 4);
    rounds(&mut state, 500, 1);
    assert_eq!(state.width(), 16, "there is an end to it");
}

#[test]
fn most_of_five_calls_failing_is_a_pause_that_one_probe_ends() {
    let mut state = State::new(8);
    let told: Vec<_> = (0..5)
        .map(|_| fail(&mut state, T0).map(|(pause, _)| pause))
        .collect();
    assert_eq!(told, [None, None, None, None, Some(seconds(30))]);
    let paused = |until| Admission::Paused {
        until: seconds(until),
        error: busy(),
    };
    assert_eq!(state.admit(seconds(29)), paused(30));
    assert_eq!(state.admit(seconds(30)), Admission::Now { probe: true });
    assert_eq!(state.admit(seconds(31)), paused(30), "one probe at a time");
    assert_eq!(
        state.ended(seconds(31), true, Health::Struggles(busy()), None),
        None,
        "it is told once"
    );
    assert_eq!(state.admit(seconds(90)), paused(91));
    for (at, until) in [(91, 211), (211, 331), (331, 451)] {
        assert_eq!(fail(&mut state, seconds(at)), None);
        assert_eq!(state.admit(seconds(at)), paused(until), "two minutes at most");
    }
    assert_eq!(state.admit(seconds(451)), Admission::Now { probe: true });
    state.ended(seconds(452), true, Health::Works, None);
    assert_eq!(state.admit(seconds(452)), NOW);
}

#[test]
fn half_of_the_calls_failing_slows_down_but_is_no_pause() {
    let mut state = State::new(8);
    for _ in 0..20 {
        assert_eq!(state.admit(T0), NOW);
        state.ended(T0, false, Health::Works, None);
        assert_eq!(fail(&mut state, T0), None);
    }
    assert_eq!(state.width(), 1);
}

#[test]
fn errors_of_the_caller_and_a_daemon_that_is_away_are_no_struggle() {
    let detail = || "x".to_owned();
    let works = [
        SandboxError::ImageMissing {
            image: detail(),
            detail: detail(),
        },
        SandboxError::RuntimeUnknown { runtime: detail() },
        SandboxError::NoShell { detail: detail() },
        SandboxError::UnknownUser { user: detail() },
        SandboxError::Unsupported { what: detail() },
        SandboxError::Gone {
            out_of_memory: false,
            detail: detail(),
        },
    ];
    for error in works {
        assert_eq!(health_of(&error), Health::Works, "{error}");
    }
    assert_eq!(health_of(&unreachable()), Health::Unknown);
    assert_eq!(health_of(&busy()), Health::Struggles(busy()));
    let disk = SandboxError::HostDisk { detail: detail() };
    assert_eq!(health_of(&disk), Health::Struggles(disk.clone()));
}

async fn call(pace: &Pace, error: Option<SandboxError>) -> Result<(), SandboxError> {
    let permit = pace.admit().await?;
    let result = error.map_or(Ok(()), Err);
    permit.done(Lifecycle::Start, &result);
    result
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_is_away_is_told_at_once_however_often() {
    let pace = Pace::new(2);
    let before = Instant::now();
    for _ in 0..100 {
        assert_eq!(call(&pace, Some(unreachable())).await, Err(unreachable()));
    }
    assert_eq!(before.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn callers_wait_through_a_pause_and_go_on_when_the_probe_works() {
    let pace = Arc::new(Pace::new(4));
    for _ in 0..5 {
        assert_eq!(call(&pace, Some(busy())).await, Err(busy()));
    }
    let before = Instant::now();
    let waiting: Vec<_> = (0..20)
        .map(|_| {
            let pace = Arc::clone(&pace);
            tokio::spawn(async move { call(&pace, None).await })
        })
        .collect();
    for waiting in waiting {
        assert_eq!(waiting.await.unwrap(), Ok(()));
    }
    assert_eq!(before.elapsed(), seconds(30));
}

#[tokio::test(start_paused = true)]
async fn a_caller_is_held_back_for_five_minutes_at_most() {
    let pace = Arc::new(Pace::new(4));
    for _ in 0..5 {
        assert_eq!(call(&pace, Some(busy())).await, Err(busy()));
    }
    let before = Instant::now();
    let waiting: Vec<_> = (0..20)
        .map(|_| {
            let pace = Arc::clone(&pace);
            tokio::spawn(async move { (call(&pace, Some(busy())).await, before.elapsed().as_secs()) })
        })
        .collect();
    let mut ends = Vec::new();
    for waiting in waiting {
        let (ended, after) = waiting.await.unwrap();
        assert_eq!(ended, Err(busy()));
        ends.push(after);
    }
    // Three probe, the fourth pause is longer than anybody waits.
    assert_eq!(ends[..4], [30, 90, 210, 300]);
    assert!(ends[4..].iter().all(|after| *after == 300), "{ends:?}");
    let patient = call(&pace, None).await;
    assert_eq!(
        (patient, before.elapsed().as_secs()),
        (Ok(()), 330),
        "who comes now waits anew"
    );
}

#[tokio::test(start_paused = true)]
async fn a_permit_that_is_dropped_frees_its_place() {
    let pace = Arc::new(Pace::new(1));
    let removal = pace.admit().await.unwrap();
    removal.done(Lifecycle::Other, &Ok(()));
    let first = pace.admit().await.unwrap();
    let second = Arc::clone(&pace);
    let second = tokio::spawn(async move { call(&second, None).await });
    tokio::task::yield_now().await;
    assert!(!second.is_finished());
    drop(first);
    assert_eq!(second.await.unwrap(), Ok(()));
    assert_eq!(pace.width(), 2, "a call at the usual pace");
}
