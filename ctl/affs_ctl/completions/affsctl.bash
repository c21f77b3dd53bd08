# bash completion for affsctl. Install it as /usr/share/bash-completion/completions/affsctl.
# Made from the registry of commands by `python -m affs_tools.pages`.

_affsctl() {
    local IFS=$'\n' word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}
    local command= at names=
    for ((at = 1; at < COMP_CWORD; at++)); do
        case ${COMP_WORDS[at]} in
            -V | --volume | --timeout | -c | -f | --file | --completion)
                [[ ${COMP_WORDS[at + 1]} == = ]] && ((at++))
                ((at++))
                ;;
            -*) ;;
            *)
                command=${COMP_WORDS[at]}
                break
                ;;
        esac
    done
    COMPREPLY=()
    if [[ -z $command ]]; then
        case $before in
            -V | --volume | -f | --file) return ;;
            --completion) names=$'bash\nzsh\nfish' ;;
            -c | --timeout) return ;;
            *)
                names=$'status\ncommit\ncheckpoint\npublish\nrollback\nundo\nredo\ndiff\ncheckpoints\nshow\npin\nunpin\nhold\ndelete\nfind\nlist\nget\nexplain\nhistory\nblame\nrestore\nretention\nset-retention\nexpire\ncreate\nupdate\nmove\nerase\nbatch\ncollections\ncollection\ncheck\ndeclare\nevolve\nundeclare\nindexes\nindex\nunindex\nreindex\nimport\nimports\ndrop-import\nexport\nlog\ndf\nverify\nwatch\nmetrics\nprometheus\nslow\nhooks\nhook\nunhook\npersonalities\npersonality\nuse-personality\ninstall-personality\nupgrade-personality\nremove-personality\nroles\ngrant\nrevoke\ntokens\ncreate-token\nrevoke-token\ncd\npwd\nlines\nwho\nping\nhelp\ndescribe\nshell'
                [[ $word == -* ]] && names=$'--volume\n--json\n--jsonl\n--ajis\n--wire\n--timeout\n--file\n--stop-on-error\n--no-rc\n--quiet\n--no-color\n--no-pager\n--completion\n--version\n--help'
                ;;
        esac
        COMPREPLY=($(compgen -W "$names" -- "$word"))
        return
    fi
    if [[ $word == -* ]]; then
        case ${command,,} in
            commit) names=$'--message' ;;
            checkpoint) names=$'--label\n--message' ;;
            publish) names=$'--message\n--dry-run\n--yes\n--token' ;;
            rollback) names=$'--undo\n--discard\n--force\n--dry-run\n--yes\n--token' ;;
            undo) names=$'--operation\n--dry-run\n--yes\n--token' ;;
            redo) names=$'--dry-run\n--yes\n--token' ;;
            diff) names=$'--path\n--limit\n--exit-code' ;;
            checkpoints) names=$'--all\n--sizes' ;;
            unpin) names=$'--dry-run\n--yes\n--token' ;;
            hold) names=$'--renew\n--release\n--lease' ;;
            delete) names=$'--now\n--dry-run\n--yes\n--token' ;;
            find) names=$'--memory' ;;
            list) names=$'--memory' ;;
            get) names=$'--memory' ;;
            explain) names=$'--memory\n--analyze' ;;
            history) names=$'--limit\n--all\n--state' ;;
            blame) names=$'--state' ;;
            set-retention) names=$'--keep-last\n--keep-hourly\n--keep-daily\n--keep-weekly\n--keep-monthly\n--keep-yearly\n--expire-labelled\n--automatic-last\n--automatic-days\n--grace\n--log-entries\n--log-days\n--dry-run\n--yes\n--token' ;;
            expire) names=$'--dry-run\n--yes\n--token' ;;
            update) names=$'--if-version\n--dry-run\n--yes\n--token' ;;
            move) names=$'--if-version\n--dry-run\n--yes\n--token' ;;
            erase) names=$'--if-version\n--dry-run\n--yes\n--token' ;;
            batch) names=$'--erasures\n--dry-run\n--yes\n--token' ;;
            collections) names=$'--as-of' ;;
            collection) names=$'--as-of' ;;
            check) names=$'--as-of' ;;
            declare) names=$'--tolerate\n--dry-run\n--yes\n--token' ;;
            evolve) names=$'--resume\n--tolerate\n--dry-run\n--yes\n--token' ;;
            undeclare) names=$'--dry-run\n--yes\n--token' ;;
            indexes) names=$'--check' ;;
            index) names=$'--name\n--detach' ;;
            unindex) names=$'--dry-run\n--yes\n--token' ;;
            reindex) names=$'--detach' ;;
            import) names=$'--format\n--name\n--on-conflict\n--delimiter\n--types\n--report\n--resume\n--dry-run\n--all-or-nothing' ;;
            export) names=$'--output\n--overwrite\n--format\n--columns\n--delimiter\n--types\n--memory' ;;
            log) names=$'--limit\n--user\n--command\n--since\n--failed' ;;
            verify) names=$'--state\n--since\n--errors-only\n--detach\n--full-speed\n--status\n--cancel' ;;
            watch) names=$'--after\n--count' ;;
            slow) names=$'--limit' ;;
            hook) names=$'--run\n--post\n--seconds' ;;
            unhook) names=$'--dry-run\n--yes\n--token' ;;
            use-personality) names=$'--dry-run\n--yes\n--token' ;;
            upgrade-personality) names=$'--dry-run\n--yes\n--token' ;;
            remove-personality) names=$'--dry-run\n--yes\n--token' ;;
            grant) names=$'--commands\n--path\n--dry-run\n--yes\n--token' ;;
            revoke) names=$'--dry-run\n--yes\n--token' ;;
            create-token) names=$'--role\n--expires\n--note' ;;
            revoke-token) names=$'--dry-run\n--yes\n--token' ;;
            lines) names=$'--failed\n--limit' ;;
            describe) names=$'--line' ;;
        esac
        if [[ -n $names ]]; then
            COMPREPLY=($(compgen -W "$names" -- "$word"))
            return
        fi
    fi
    COMPREPLY=($(affsctl __complete "${COMP_LINE:0:COMP_POINT}" "$word" 2>/dev/null))
}
complete -o default -F _affsctl affsctl
