//! What the host asks for, one message at a time.

use super::guest::Guest;
use super::kill::Purpose;
use harness_guest::{Ending, Exec, FromGuest, ToGuest};

impl Guest {
    /// Does what a message says.
    pub(crate) fn handle(&mut self, message: ToGuest) {
        match message {
            ToGuest::Exec(exec) => self.handle_exec(exec),
            ToGuest::Stdin { id, bytes } => {
                if let Some(command) = self.commands.get_mut(&id) {
                    command.input.push(&bytes);
                }
                self.say_taken(id);
            }
            ToGuest::StdinEnd { id } => {
                if let Some(command) = self.commands.get_mut(&id) {
                    command.input.end();
                }
            }
            ToGuest::Resize { id, size } => {
                if let Some(command) = self.commands.get(&id) {
                    command.resize(size);
                }
            }
            ToGuest::AskTerminal { id } => self.say_terminal(id),
            ToGuest::Kill { id } => self.kill(id, Ending::Killed),
            ToGuest::Forget { id } => self.forget(id),
            ToGuest::KillAll { id } => self.kill_everything(Purpose::Answer(id)),
            ToGuest::Read(read) => self.begin_read(&read),
            ToGuest::Write(write) => self.begin_write(write),
            ToGuest::WriteData { id, bytes } => self.write_data(id, &bytes),
            ToGuest::WriteEnd { id } => self.end_write(id),
            ToGuest::Stat { id, path, user } => self.look_at(id, &path, &user),
            ToGuest::List { id, path, user } => self.begin_list(id, &path, user),
            ToGuest::AskProcesses { id } => self.say_processes(id),
            ToGuest::Ping { id } => self.outbox.say(&FromGuest::Pong { id }),
            ToGuest::Listen { id, address, port } => self.listen(id, address.into(), port),
            ToGuest::Unlisten { id } => drop(self.net.listeners.remove(&id)),
            ToGuest::Dial { conn, port } => self.dial(conn, port),
            ToGuest::WatchPorts => self.net.ports.start(),
            ToGuest::NetData { conn, bytes } => self.net_data(conn, &bytes),
            ToGuest::NetCredit { conn, bytes } => self.net_credit(conn, bytes),
            ToGuest::NetEnd { conn } => self.net_end(conn),
            ToGuest::NetReset { conn } => self.reset(conn),
        }
    }

    /// Tells the host how much more of a command's input it may send.
    pub(crate) fn say_taken(&mut self, id: u32) {
        let taken = self
            .commands
            .get_mut(&id)
            .and_then(|command| command.input.taken());
        if let Some(bytes) = taken {
            self.outbox.say(&FromGuest::StdinTaken { id, bytes });
        }
    }

    fn handle_exec(&mut self, exec: Box<Exec>) {
        if exec.kill_all_first {
            self.kill_everything(Purpose::Start(exec));
        } else {
            self.start(*exec);
        }
    }
}
