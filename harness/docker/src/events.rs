//! What the daemon tells unasked: commands that ended, lack of memory, containers that died.
//!
//! Owns: one event stream per provider and its distribution to sandboxes. Must not: be needed for anything to
//! end: every waiter also asks by itself now and then.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use bollard::Docker;
use bollard::models::EventMessage;
use bollard::query_parameters::EventsOptionsBuilder;
use futures_util::StreamExt;
use tokio::sync::watch;

use crate::config::LABEL_OWNER;

const RECONNECT: Duration = Duration::from_millis(200);
const REMEMBERED_COMMANDS: usize = 64;

/// What was heard of one container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Heard {
    /// It was said to have died or to be removed, and nobody has checked since.
    pub(crate) suspect: bool,
    /// How often the kernel killed something in it for lack of memory.
    pub(crate) ooms: u64,
    /// Exit codes of commands that ended, by the daemon's id of the command.
    pub(crate) ended: BTreeMap<String, i32>,
}

/// Where a sandbox hears of its container.
pub(crate) type Ear = Arc<watch::Sender<Heard>>;

/// Who listens for which container.
#[derive(Default)]
pub(crate) struct Switchboard {
    ears: Mutex<HashMap<String, Weak<watch::Sender<Heard>>>>,
}

impl Switchboard {
    /// Returns an ear for a container; it is forgotten when the last owner drops it.
    pub(crate) fn listen(&self, container: &str) -> Ear {
        let ear = Arc::new(watch::Sender::new(Heard::default()));
        let mut ears = self.ears.lock().unwrap_or_else(PoisonError::into_inner);
        ears.retain(|_, ear| ear.strong_count() > 0);
        ears.insert(container.to_owned(), Arc::downgrade(&ear));
        ear
    }

    fn find(&self, container: &str) -> Option<Ear> {
        let ears = self.ears.lock().unwrap_or_else(PoisonError::into_inner);
        ears.get(container).and_then(Weak::upgrade)
    }

    fn suspect_all(&self) {
        let ears = self.ears.lock().unwrap_or_else(PoisonError::into_inner);
        for ear in ears.values().filter_map(Weak::upgrade) {
            ear.send_modify(|heard| heard.suspect = true);
        }
    }

    fn dispatch(&self, event: &EventMessage) {
        let Some(actor) = &event.actor else { return };
        let Some(ear) = actor.id.as_deref().and_then(|id| self.find(id)) else {
            return;
        };
        let attribute = |name: &str| actor.attributes.as_ref().and_then(|all| all.get(name));
        ear.send_modify(|heard| match event.action.as_deref() {
            Some("die" | "destroy") => heard.suspect = true,
            Some("oom") => heard.ooms += 1,
            Some("exec_die") => {
                let code = attribute("exitCode").and_then(|code| code.parse().ok());
                if let (Some(id), Some(code)) = (attribute("execID"), code) {
                    if heard.ended.len() >= REMEMBERED_COMMANDS {
                        heard.ended.pop_first();
                    }
                    heard.ended.insert(id.clone(), code);
                }
            }
            _ => {}
        });
    }
}

/// Listens until it is aborted; connects again whenever the daemon goes away.
pub(crate) async fn listen_forever(docker: Docker, owner: String, switchboard: Arc<Switchboard>) {
    let mut latest = 0;
    loop {
        let filters = HashMap::from([
            ("type", vec!["container".to_owned()]),
            ("label", vec![format!("{LABEL_OWNER}={owner}")]),
            (
                "event",
                ["die", "destroy", "oom", "exec_die"].map(str::to_owned).to_vec(),
            ),
        ]);
        let mut options = EventsOptionsBuilder::new().filters(&filters);
        if latest > 0 {
            let since = format!("{}.{:09}", latest / 1_000_000_000, latest % 1_000_000_000);
            options = options.since(&since);
        }
        let mut stream = docker.events(Some(options.build()));
        while let Some(Ok(event)) = stream.next().await {
            let at = event.time_nano.unwrap_or(latest);
            if at > latest {
                latest = at;
                switchboard.dispatch(&event);
            }
        }
        switchboard.suspect_all();
        tracing::debug!("the event stream of the Docker daemon ended; connecting again");
        tokio::time::sleep(RECONNECT).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bollard::models::EventActor;
    use pretty_assertions::assert_eq;

    fn event(action: &str, container: &str, attributes: &[(&str, &str)]) -> EventMessage {
        let attributes = attributes.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        EventMessage {
            action: Some(action.to_owned()),
            actor: Some(EventActor {
                id: Some(container.to_owned()),
                attributes: Some(attributes.collect()),
            }),
            ..EventMessage::default()
        }
    }

    #[test]
    fn events_reach_the_sandbox_they_are_about() {
        let switchboard = Switchboard::default();
        let (one, two) = (switchboard.listen("one"), switchboard.listen("two"));
        switchboard.dispatch(&event("oom", "one", &[]));
        switchboard.dispatch(&event("exec_die", "one", &[("execID", "e"), ("exitCode", "7")]));
        switchboard.dispatch(&event(
            "exec_die",
            "one",
            &[("execID", "f"), ("exitCode", "many")],
        ));
        switchboard.dispatch(&event("die", "two", &[]));
        switchboard.dispatch(&event("die", "three", &[]));
        let expected = Heard {
            suspect: false,
            ooms: 1,
            ended: BTreeMap::from([("e".to_owned(), 7)]),
        };
        assert_eq!(*one.borrow(), expected);
        assert!(two.borrow().suspect);
        drop(one);
        assert!(switchboard.find("one").is_none());
    }
}
