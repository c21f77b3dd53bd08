"""The completion scripts for bash, zsh and fish, made from descriptions of commands.

Names of commands and of options are fixed in a script, so they cost nothing; values, and commands
that the script does not know, are asked of the runtime through `affsctl __complete`. `python -m
affs_tools.pages` writes the scripts into affs_ctl/completions/, and a test holds them current.
"""

from collections.abc import Sequence
from typing import Any

from affs_ctl.complete import SCRIPT_NAMES
from affs_ctl.options import OWN_OPTIONS, SHELLS

__all__ = ["make_scripts"]

Description = dict[str, Any]

_MADE = "# Made from the registry of commands by `python -m affs_tools.pages`.\n"
_FILES = ("--volume", "--file")


def make_scripts(commands: Sequence[Description]) -> dict[str, str]:
    """By the name of the file. commands: as `describe` answers them."""
    shown = [command for command in commands if not command["hidden"]]
    makers = {"bash": _bash, "zsh": _zsh, "fish": _fish}
    return {SCRIPT_NAMES[shell]: makers[shell](shown) for shell in SHELLS}


def _options_of(command: Description) -> list[Description]:
    return [one for one in command["parameters"] if not one["positional"]]


def _with_value() -> list[str]:
    return [name for one in OWN_OPTIONS if one.value for name in (one.short, one.long) if name]


def _with_files() -> list[str]:
    taken = [one for one in OWN_OPTIONS if one.long in _FILES]
    return [name for one in taken for name in (one.short, one.long)]


def _quoted(text: str) -> str:
    """For any of the three shells."""
    return "'" + text.replace("'", "'\\''") + "'"


# ---- bash ----

_BASH = """\
# bash completion for affsctl. Install it as /usr/share/bash-completion/completions/affsctl.
{made}
_affsctl() {{
    local IFS=$'\\n' word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD - 1]}}
    local command= at names=
    for ((at = 1; at < COMP_CWORD; at++)); do
        case ${{COMP_WORDS[at]}} in
            {with_value})
                [[ ${{COMP_WORDS[at + 1]}} == = ]] && ((at++))
                ((at++))
                ;;
            -*) ;;
            *)
                command=${{COMP_WORDS[at]}}
                break
                ;;
        esac
    done
    COMPREPLY=()
    if [[ -z $command ]]; then
        case $before in
            {files}) return ;;
            --completion) names=$'{shells}' ;;
            -c | --timeout) return ;;
            *)
                names=$'{commands}'
                [[ $word == -* ]] && names=$'{own}'
                ;;
        esac
        COMPREPLY=($(compgen -W "$names" -- "$word"))
        return
    fi
    if [[ $word == -* ]]; then
        case ${{command,,}} in
{cases}
        esac
        if [[ -n $names ]]; then
            COMPREPLY=($(compgen -W "$names" -- "$word"))
            return
        fi
    fi
    COMPREPLY=($(affsctl __complete "${{COMP_LINE:0:COMP_POINT}}" "$word" 2>/dev/null))
}}
complete -o default -F _affsctl affsctl
"""


def _bash(commands: Sequence[Description]) -> str:
    cases = []
    for command in commands:
        names = "\\n".join(one["word"] for one in _options_of(command))
        if names:
            cases.append(f"            {command['name']}) names=$'{names}' ;;")
    return _BASH.format(
        made=_MADE,
        with_value=" | ".join(_with_value()),
        files=" | ".join(_with_files()),
        shells="\\n".join(SHELLS),
        commands="\\n".join([*(command["name"] for command in commands), "shell"]),
        own="\\n".join(one.long for one in OWN_OPTIONS if one.long),
        cases="\n".join(cases),
    )


# ---- zsh ----

_ZSH = """\
#compdef affsctl
# zsh completion for affsctl. Install it as _affsctl in a directory of $fpath, or source it.
{made}
_affsctl() {{
    local -a commands own options texts shown
    local command= at text about
    commands=(
{commands}
    )
    own=(
{own}
    )
    for ((at = 2; at < CURRENT; at++)); do
        case ${{words[at]}} in
            {with_value}) ((at++)) ;;
            -*) ;;
            *)
                command=${{words[at]}}
                break
                ;;
        esac
    done
    if [[ -z $command ]]; then
        case ${{words[CURRENT - 1]}} in
            {files}) _files ;;
            --completion) compadd {shells} ;;
            -c | --timeout) ;;
            *)
                if [[ $PREFIX == -* ]]; then
                    _describe -o option own
                else
                    _describe command commands
                fi
                ;;
        esac
        return
    fi
    if [[ $PREFIX == -* && $PREFIX != *=* ]]; then
        case ${{command:l}} in
{cases}
        esac
        if (($#options)); then
            _describe -o option options
            return
        fi
    fi
    local line="${{(j: :)words[1,CURRENT - 1]}} $PREFIX"
    compset -P '--*='
    while IFS=$'\\t' read -r text about; do
        texts+=("$text")
        shown+=("$text${{about:+  -- $about}}")
    done < <(affsctl __complete --help-text "$line" "$PREFIX" 2>/dev/null)
    compadd -Q -l -d shown -a -- texts
}}

if [[ ${{funcstack[1]}} == _affsctl ]]; then
    _affsctl "$@"
else
    compdef _affsctl affsctl # it was sourced
fi
"""


def _zsh_entry(name: str, about: str) -> str:
    return _quoted(name.replace(":", "\\:") + ":" + about)


def _zsh(commands: Sequence[Description]) -> str:
    cases = []
    for command in commands:
        options = " ".join(_zsh_entry(one["word"], one["help"]) for one in _options_of(command))
        if options:
            cases.append(f"            {command['name']}) options=({options}) ;;")
    entries = [_zsh_entry(command["name"], command["summary"]) for command in commands]
    entries.append(_zsh_entry("shell", "work interactively"))
    return _ZSH.format(
        made=_MADE,
        commands="\n".join(f"        {entry}" for entry in entries),
        own="\n".join(
            f"        {_zsh_entry(one.long, one.help)}" for one in OWN_OPTIONS if one.long
        ),
        with_value=" | ".join(_with_value()),
        files=" | ".join(_with_files()),
        shells=" ".join(SHELLS),
        cases="\n".join(cases),
    )


# ---- fish ----

_FISH = """\
# fish completion for affsctl. Install it as affsctl.fish in ~/.config/fish/completions.
{made}
function __affsctl_command
    set -l skip 0
    for word in (commandline -opc)[2..-1]
        if test $skip = 1
            set skip 0
            continue
        end
        switch $word
            case {with_value}
                set skip 1
            case '-*'
                continue
            case '*'
                string lower -- $word
                return
        end
    end
end

function __affsctl_needs_command
    test -z "$(__affsctl_command)"
end

function __affsctl_is
    test "$(__affsctl_command)" = $argv[1]
end

function __affsctl_values
    set -l word (commandline -ct)
    string match -qr -- '^-[^=]*$' $word
    and return
    affsctl __complete --help-text (commandline -cp) "$word" 2>/dev/null
end

complete -c affsctl -f
{lines}
complete -c affsctl -n 'not __affsctl_needs_command' -a '(__affsctl_values)'
"""


def _fish(commands: Sequence[Description]) -> str:
    lines = []
    for one in OWN_OPTIONS:
        words = f"-l {one.long[2:]}" if one.long else ""
        words += f" -s {one.short[1:]}" if one.short else ""
        if one.choices:
            words += f" -x -a '{' '.join(one.choices)}'"
        elif one.value:
            words += " -r -F" if one.long in _FILES else " -x"
        condition = "-n __affsctl_needs_command "
        lines.append(f"complete -c affsctl {condition}{words.strip()} -d {_quoted(one.help)}")
    for command in commands:
        name = command["name"]
        about = _quoted(command["summary"])
        lines.append(f"complete -c affsctl -n __affsctl_needs_command -a {name} -d {about}")
        for option in _options_of(command):
            words = f"-l {option['word'][2:]}"
            words += f" -s {option['short'][1:]}" if "short" in option else ""
            words += "" if option["type"] == "flag" else " -x -a '(__affsctl_values)'"
            about = _quoted(option["help"])
            lines.append(f"complete -c affsctl -n '__affsctl_is {name}' {words} -d {about}")
    shell = "complete -c affsctl -n __affsctl_needs_command -a shell -d 'work interactively'"
    return _FISH.format(
        made=_MADE, with_value=" ".join(_with_value()), lines="\n".join([*lines, shell])
    )
