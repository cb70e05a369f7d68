//! The shell of an agent's terminal, and how its prompt is told from all else.
//!
//! Owns: how it is started. Must not: start it.
//!
//! Before each prompt the shell writes a command of the terminal that none knows (`ESC ] 6973 ; nonce ; code BEL`);
//! it is not to be seen. Tried with bash 5.2, dash 0.5.12 and the ash of busybox 1.35: all expand `$?` and `$PWD` in
//! a prompt, and bash and busybox must be told by `\[` and `\]` that it takes no room.

/// Variables of a shell on an agent's terminal.
pub const PROMPT_ENV: [(&str, &str); 6] = [
    ("TERM", "xterm-256color"),
    ("PAGER", "cat"),
    ("GIT_PAGER", "cat"),
    ("MANPAGER", "cat"),
    ("HISTFILE", ""),
    ("ENV", ""),
];

const START: &str = r#"m=$(printf '\033]6973;%s;' "$0") b=$(printf '\007') o= c=
if [ -x /bin/bash ]; then s='/bin/bash --norc --noprofile'; else s=/bin/sh; fi
case "$s $(/bin/sh --help 2>&1 </dev/null | head -n 1)" in */bash*|*BusyBox*) o='\[' c='\]' ;; esac
export PS1="$o$m\$?$b$c\$PWD \$ " PS2="$o${m}more$b$c> "
unset m b o c
exec $s -i"#;

/// Returns the program and arguments of a shell whose prompts carry the nonce: bash where the image has it.
pub fn shell_argv(nonce: &str) -> Vec<String> {
    ["/bin/sh", "-c", START, nonce].map(str::to_owned).to_vec()
}
