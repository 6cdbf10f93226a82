//! What a shell knows about completion: ask the program itself.

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::super::args::Cli;

/// The script of a shell. Elvish and PowerShell get one with the options alone.
pub(in crate::cli) fn script(shell: Shell) -> String {
    match shell {
        Shell::Bash => BASH.to_owned(),
        Shell::Zsh => ZSH.to_owned(),
        Shell::Fish => FISH.to_owned(),
        other => {
            let mut script = Vec::new();
            clap_complete::generate(other, &mut Cli::command(), "apprentice", &mut script);
            String::from_utf8_lossy(&script).into_owned()
        }
    }
}

// bash cuts words at `=`, `@` and `:` as well and wants its answers cut there too; so it hands over the whole line.
const BASH: &str = r#"_apprentice() {
    local line="${COMP_LINE:0:COMP_POINT}" program="${COMP_WORDS[0]/#\~/$HOME}" word cut answer
    word="${line##* }"
    cut="${word%"${word##*["$COMP_WORDBREAKS"]}"}"
    COMPREPLY=()
    while IFS=$'\t' read -r answer _; do
        COMPREPLY+=("${answer#"$cut"}")
    done < <("$program" complete -- "$line" 2>/dev/null)
    if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[/=] ]]; then
        compopt -o nospace 2>/dev/null
    fi
}
complete -F _apprentice apprentice
"#;

const ZSH: &str = r#"#compdef apprentice
_apprentice() {
    local -a answers open
    local answer about
    while IFS=$'\t' read -r answer about; do
        if [[ $answer == *[/=] ]]; then
            open+=("$answer")
        else
            answers+=("${answer//:/\\:}:$about")
        fi
    done < <("${(Q)words[1]/#\~/$HOME}" complete -- "${(@Q)words[1,CURRENT]}" 2>/dev/null)
    (( $#open )) && compadd -S '' -- "${open[@]}"
    (( $#answers )) && _describe apprentice answers
}
if [[ $funcstack[1] == _apprentice ]]; then
    _apprentice "$@"
else
    compdef _apprentice apprentice
fi
"#;

const FISH: &str = r#"function __apprentice_complete
    set -l words (commandline -opc) (commandline -ct)
    set -l program (string replace -r '^~' $HOME -- $words[1])
    $program complete -- $words 2>/dev/null
end
complete -c apprentice -f -a '(__apprentice_complete)'
"#;
