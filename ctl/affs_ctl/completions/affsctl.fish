# fish completion for affsctl. Install it as affsctl.fish in ~/.config/fish/completions.
# Made from the registry of commands by `python -m affs_tools.pages`.

function __affsctl_command
    set -l skip 0
    for word in (commandline -opc)[2..-1]
        if test $skip = 1
            set skip 0
            continue
        end
        switch $word
            case -V --volume --timeout -c -f --file --completion
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
complete -c affsctl -n __affsctl_needs_command -l volume -s V -r -F -d 'a mount point or any path below it, a volume file, a UUID or a label (default: $AFFS_VOLUME, else the volume of the current directory)'
complete -c affsctl -n __affsctl_needs_command -l json -d 'one JSON document'
complete -c affsctl -n __affsctl_needs_command -l jsonl -d 'one JSON value a line, as they come'
complete -c affsctl -n __affsctl_needs_command -l ajis -d 'one AJIS document, canonical'
complete -c affsctl -n __affsctl_needs_command -l wire -d 'the messages of the answer, in frames, as the channel carries them'
complete -c affsctl -n __affsctl_needs_command -l timeout -x -d 'give up after so long'
complete -c affsctl -n __affsctl_needs_command -s c -x -d 'a whole command line in one argument'
complete -c affsctl -n __affsctl_needs_command -l file -s f -r -F -d 'the lines of a file, one after the other; - is the standard input'
complete -c affsctl -n __affsctl_needs_command -l stop-on-error -d 'with -f: end at the first line that fails'
complete -c affsctl -n __affsctl_needs_command -l no-rc -d 'with shell: leave ~/.affsrc alone'
complete -c affsctl -n __affsctl_needs_command -l quiet -s q -d 'no headlines and no progress'
complete -c affsctl -n __affsctl_needs_command -l no-color -d 'plain text; so does the environment variable NO_COLOR'
complete -c affsctl -n __affsctl_needs_command -l no-pager -d 'never through $AFFS_PAGER, $PAGER or less'
complete -c affsctl -n __affsctl_needs_command -l completion -x -a 'bash zsh fish' -d 'print the completion script for bash, zsh or fish'
complete -c affsctl -n __affsctl_needs_command -l version -d 'print the version of affsctl'
complete -c affsctl -n __affsctl_needs_command -l help -s h -d 'print this'
complete -c affsctl -n __affsctl_needs_command -a status -d 'the volume, its states and its space on one screen'
complete -c affsctl -n __affsctl_needs_command -a commit -d 'make everything written so far durable'
complete -c affsctl -n '__affsctl_is commit' -l message -s m -x -a '(__affsctl_values)' -d 'why, for the operation log'
complete -c affsctl -n __affsctl_needs_command -a checkpoint -d 'commit, and keep the state under an id and a label'
complete -c affsctl -n '__affsctl_is checkpoint' -l label -s l -x -a '(__affsctl_values)' -d 'a name of its own, unique in the volume'
complete -c affsctl -n '__affsctl_is checkpoint' -l message -s m -x -a '(__affsctl_values)' -d 'why it is kept'
complete -c affsctl -n __affsctl_needs_command -a publish -d 'commit, keep the state and make it the published one'
complete -c affsctl -n '__affsctl_is publish' -l message -s m -x -a '(__affsctl_values)' -d 'what is published'
complete -c affsctl -n '__affsctl_is publish' -l dry-run -s n -d 'show what would happen and change nothing'
complete -c affsctl -n '__affsctl_is publish' -l yes -s y -d 'do it without asking'
complete -c affsctl -n '__affsctl_is publish' -l token -x -a '(__affsctl_values)' -d 'do it if nothing has changed since the dry run that gave TOKEN'
complete -c affsctl -n __affsctl_needs_command -a rollback -d 'make the working state what a kept state is'
complete -c affsctl -n '__affsctl_is rollback' -l undo -d 'bring back what the last rollback put aside'
complete -c affsctl -n '__affsctl_is rollback' -l discard -d 'do not keep what is abandoned: it cannot be undone then'
complete -c affsctl -n '__affsctl_is rollback' -l force -d 'even if something is mounted below a directory that goes'
complete -c affsctl -n '__affsctl_is rollback' -l dry-run -s n -d 'show what would happen and change nothing'
complete -c affsctl -n '__affsctl_is rollback' -l yes -s y -d 'do it without asking'
complete -c affsctl -n '__affsctl_is rollback' -l token -x -a '(__affsctl_values)' -d 'do it if nothing has changed since the dry run that gave TOKEN'
complete -c affsctl -n __affsctl_needs_command -a undo -d 'take back what the last commands changed'
complete -c affsctl -n '__affsctl_is undo' -l operation -x -a '(__affsctl_values)' -d 'take back this one alone, by its number in `log`'
complete -c affsctl -n '__affsctl_is undo' -l dry-run -s n -d 'show what would happen and change nothing'
complete -c affsctl -n '__affsctl_is undo' -l yes -s y -d 'do it without asking'
complete -c affsctl -n '__affsctl_is undo' -l token -x -a '(__affsctl_values)' -d 'do it if nothing has changed since the dry run that gave TOKEN'
complete -c affsctl -n __affsctl_needs_command -a redo -d 'do again what the last undo took back'
complete -c affsctl -n '__affsctl_is redo' -l dry-run -s n -d 'show what would happen and change nothing'
complete -c affsctl -n '__affsctl_is redo' -l yes -s y -d 'do it without asking'
complete -c affsctl -n '__affsctl_is redo' -l token -x -a '(__affsctl_values)' -d 'do it if nothing has changed since the dry run that gave TOKEN'
complete -c affsctl -n __affsctl_needs_command -a diff -d 'what differs between two states'
complete -c affsctl -n '__affsctl_is diff' -l limit -s l -x -a '(__affsctl_values)' -d 'stop after so many changes'
complete -c affsctl -n '__affsctl_is diff' -l exit-code -d 'let affsctl end with 4 when there are differences'
complete -c affsctl -n __affsctl_needs_command -a checkpoints -d 'the kept states, oldest first'
complete -c affsctl -n '__affsctl_is checkpoints' -l all -s a -d 'hidden states too: deleted ones that still wait for others'
complete -c affsctl -n __affsctl_needs_command -a show -d 'everything about one kept state'
complete -c affsctl -n __affsctl_needs_command -a pin -d 'protect a kept state from deletion'
complete -c affsctl -n __affsctl_needs_command -a unpin -d 'release one pin of a kept state'
complete -c affsctl -n '__affsctl_is unpin' -l dry-run -s n -d 'show what would happen and change nothing'
complete -c affsctl -n '__affsctl_is unpin' -l yes -s y -d 'do it without asking'
complete -c affsctl -n '__affsctl_is unpin' -l token -x -a '(__affsctl_values)' -d 'do it if nothing has changed since the dry run that gave TOKEN'
complete -c affsctl -n __affsctl_needs_command -a hold -d 'keep a state readable for a while, for a reader of the volume'\''s file'
complete -c affsctl -n '__affsctl_is hold' -l renew -x -a '(__affsctl_values)' -d 'renew the hold ID, which `hold` gave'
complete -c affsctl -n '__affsctl_is hold' -l release -x -a '(__affsctl_values)' -d 'end the hold ID'
complete -c affsctl -n '__affsctl_is hold' -l lease -x -a '(__affsctl_values)' -d 'how many seconds it lasts unless it is renewed'
complete -c affsctl -n __affsctl_needs_command -a delete -d 'delete a kept state and free what it alone holds'
complete -c affsctl -n '__affsctl_is delete' -l now -d 'free its blocks at once: it cannot be restored then'
complete -c affsctl -n '__affsctl_is delete' -l dry-run -s n -d 'show what would happen and change nothing'
complete -c affsctl -n '__affsctl_is delete' -l yes -s y -d 'do it without asking'
complete -c affsctl -n '__affsctl_is delete' -l token -x -a '(__affsctl_values)' -d 'do it if nothing has changed since the dry run that gave TOKEN'
complete -c affsctl -n __affsctl_needs_command -a find -d 'records below a directory, or files: filtered, sorted, grouped, joined'
complete -c affsctl -n '__affsctl_is find' -l memory -x -a '(__affsctl_values)' -d 'MiB that the query may keep in memory'
complete -c affsctl -n __affsctl_needs_command -a list -d 'the entries of one directory, or the records among them'
complete -c affsctl -n '__affsctl_is list' -l memory -x -a '(__affsctl_values)' -d 'MiB that the query may keep in memory'
complete -c affsctl -n __affsctl_needs_command -a get -d 'one record, by its path or by its id'
complete -c affsctl -n '__affsctl_is get' -l memory -x -a '(__affsctl_values)' -d 'MiB that the query may keep in memory'
complete -c affsctl -n __affsctl_needs_command -a explain -d 'the steps of a query with estimates, or with what happened'
complete -c affsctl -n '__affsctl_is explain' -l memory -x -a '(__affsctl_values)' -d 'MiB that the query may keep in memory'
complete -c affsctl -n '__affsctl_is explain' -l analyze -s a -d 'run the query and tell what happened'
complete -c affsctl -n __affsctl_needs_command -a restore -d 'bring back a deleted state that is still whole'
complete -c affsctl -n __affsctl_needs_command -a retention -d 'the rules by which kept states, and log entries, are let go'
complete -c affsctl -n __affsctl_needs_command -a set-retention -d 'change the rules by which kept states are let go'
complete -c affsctl -n '__affsctl_is set-retention' -l keep-last -x -a '(__affsctl_values)' -d 'keep the newest so many states'
complete -c affsctl -n '__affsctl_is set-retention' -l keep-hourly -x -a '(__affsctl_values)' -d 'and the newest of each of so many hours'
complete -c affsctl -n '__affsctl_is set-retention' -l keep-daily -x -a '(__affsctl_values)' -d 'of each of so many days'
complete -c affsctl -n '__affsctl_is set-retention' -l keep-weekly -x -a '(__affsctl_values)' -d 'of each of so many weeks'
complete -c affsctl -n '__affsctl_is set-retention' -l keep-monthly -x -a '(__affsctl_values)' -d 'of each of so many months'
complete -c affsctl -n '__affsctl_is set-retention' -l keep-yearly -x -a '(__affsctl_values)' -d 'of each of so many years'
complete -c affsctl -n '__affsctl_is set-retention' -l expire-labelled -x -a '(__affsctl_values)' -d 'whether states with a label go like others'
complete -c affsctl -n '__affsctl_is set-retention' -l automatic-last -x -a '(__affsctl_values)' -d 'what rollbacks put aside: keep the newest so many'
complete -c affsctl -n '__affsctl_is set-retention' -l automatic-days -x -a '(__affsctl_values)' -d 'and all that are younger than so many days'
complete -c affsctl -n '__affsctl_is set-retention' -l grace -x -a '(__affsctl_values)' -d 'how long a deleted state can be restored: 0s for not'
complete -c affsctl -n '__affsctl_is set-retention' -l log-entries -x -a '(__affsctl_values)' -d 'keep so many entries of the operation log'
complete -c affsctl -n '__affsctl_is set-retention' -l log-days -x -a '(__affsctl_values)' -d 'and none older than so many days; 0 for any age'
complete -c affsctl -n '__affsctl_is set-retention' -l dry-run -s n -d 'show what would happen and change nothing'
complete -c affsctl -n '__affsctl_is set-retention' -l yes -s y -d 'do it without asking'
complete -c affsctl -n '__affsctl_is set-retention' -l token -x -a '(__affsctl_values)' -d 'do it if nothing has changed since the dry run that gave TOKEN'
complete -c affsctl -n __affsctl_needs_command -a expire -d 'let go of the states that the rules of retention do not keep'
complete -c affsctl -n '__affsctl_is expire' -l dry-run -s n -d 'show what would happen and change nothing'
complete -c affsctl -n '__affsctl_is expire' -l yes -s y -d 'do it without asking'
complete -c affsctl -n '__affsctl_is expire' -l token -x -a '(__affsctl_values)' -d 'do it if nothing has changed since the dry run that gave TOKEN'
complete -c affsctl -n __affsctl_needs_command -a log -d 'who did what: the newest commands that changed the volume'
complete -c affsctl -n '__affsctl_is log' -l limit -s l -x -a '(__affsctl_values)' -d 'how many entries'
complete -c affsctl -n '__affsctl_is log' -l user -s u -x -a '(__affsctl_values)' -d 'only what this user did'
complete -c affsctl -n '__affsctl_is log' -l command -s c -x -a '(__affsctl_values)' -d 'only this command'
complete -c affsctl -n '__affsctl_is log' -l since -s s -x -a '(__affsctl_values)' -d 'only what came after this time'
complete -c affsctl -n '__affsctl_is log' -l failed -s f -d 'only what failed'
complete -c affsctl -n __affsctl_needs_command -a df -d 'where the space is'
complete -c affsctl -n __affsctl_needs_command -a verify -d 'read everything back from the medium while the volume is in use'
complete -c affsctl -n '__affsctl_is verify' -l state -x -a '(__affsctl_values)' -d 'only this kept state, or the path in it'
complete -c affsctl -n '__affsctl_is verify' -l since -x -a '(__affsctl_values)' -d 'only what is newer than this kept state'
complete -c affsctl -n '__affsctl_is verify' -l detach -d 'begin, and do not wait for the end'
complete -c affsctl -n '__affsctl_is verify' -l full-speed -d 'do not spare the mount'\''s own requests'
complete -c affsctl -n '__affsctl_is verify' -l status -d 'what is known: the damage, and what is running'
complete -c affsctl -n '__affsctl_is verify' -l cancel -d 'end the one that is running'
complete -c affsctl -n __affsctl_needs_command -a watch -d 'events as they happen, until it is cancelled'
complete -c affsctl -n '__affsctl_is watch' -l after -x -a '(__affsctl_values)' -d 'begin with what came after the event with this cursor, as far as it is known'
complete -c affsctl -n '__affsctl_is watch' -l count -s c -x -a '(__affsctl_values)' -d 'end after so many events'
complete -c affsctl -n __affsctl_needs_command -a metrics -d 'figures: times by operation, bytes, cache, commits, ages, space'
complete -c affsctl -n __affsctl_needs_command -a prometheus -d 'the same figures as text for Prometheus'
complete -c affsctl -n __affsctl_needs_command -a slow -d 'the newest commands and requests of the kernel that took long'
complete -c affsctl -n '__affsctl_is slow' -l limit -s l -x -a '(__affsctl_values)' -d 'how many at most'
complete -c affsctl -n __affsctl_needs_command -a hooks -d 'the hooks of the volume, and how their last runs went'
complete -c affsctl -n __affsctl_needs_command -a hook -d 'run a program, or send a request, on events'
complete -c affsctl -n '__affsctl_is hook' -l run -x -a '(__affsctl_values)' -d 'the program at this absolute path'
complete -c affsctl -n '__affsctl_is hook' -l post -x -a '(__affsctl_values)' -d 'a POST request to this URL'
complete -c affsctl -n '__affsctl_is hook' -l seconds -x -a '(__affsctl_values)' -d 'how long it may take'
complete -c affsctl -n __affsctl_needs_command -a unhook -d 'remove a hook'
complete -c affsctl -n '__affsctl_is unhook' -l dry-run -s n -d 'show what would happen and change nothing'
complete -c affsctl -n '__affsctl_is unhook' -l yes -s y -d 'do it without asking'
complete -c affsctl -n '__affsctl_is unhook' -l token -x -a '(__affsctl_values)' -d 'do it if nothing has changed since the dry run that gave TOKEN'
complete -c affsctl -n __affsctl_needs_command -a personalities -d 'the packages there are, and which is in use'
complete -c affsctl -n __affsctl_needs_command -a personality -d 'one package in full: what it leaves out, asks for, and says'
complete -c affsctl -n __affsctl_needs_command -a use-personality -d 'choose the personality of the volume, or none'
complete -c affsctl -n '__affsctl_is use-personality' -l dry-run -s n -d 'show what would happen and change nothing'
complete -c affsctl -n '__affsctl_is use-personality' -l yes -s y -d 'do it without asking'
complete -c affsctl -n '__affsctl_is use-personality' -l token -x -a '(__affsctl_values)' -d 'do it if nothing has changed since the dry run that gave TOKEN'
complete -c affsctl -n __affsctl_needs_command -a install-personality -d 'put a package into the volume'
complete -c affsctl -n __affsctl_needs_command -a upgrade-personality -d 'replace an installed package by a newer version'
complete -c affsctl -n '__affsctl_is upgrade-personality' -l dry-run -s n -d 'show what would happen and change nothing'
complete -c affsctl -n '__affsctl_is upgrade-personality' -l yes -s y -d 'do it without asking'
complete -c affsctl -n '__affsctl_is upgrade-personality' -l token -x -a '(__affsctl_values)' -d 'do it if nothing has changed since the dry run that gave TOKEN'
complete -c affsctl -n __affsctl_needs_command -a remove-personality -d 'take a package out of the volume'
complete -c affsctl -n '__affsctl_is remove-personality' -l dry-run -s n -d 'show what would happen and change nothing'
complete -c affsctl -n '__affsctl_is remove-personality' -l yes -s y -d 'do it without asking'
complete -c affsctl -n '__affsctl_is remove-personality' -l token -x -a '(__affsctl_values)' -d 'do it if nothing has changed since the dry run that gave TOKEN'
complete -c affsctl -n __affsctl_needs_command -a ping -d 'see whether the runtime answers'
complete -c affsctl -n __affsctl_needs_command -a help -d 'the commands, or one of them in full'
complete -c affsctl -n __affsctl_needs_command -a describe -d 'commands with parameters, types, roles, results and examples, as a value'
complete -c affsctl -n '__affsctl_is describe' -l line -x -a '(__affsctl_values)' -d 'the command that this line means'
complete -c affsctl -n __affsctl_needs_command -a shell -d 'work interactively'
complete -c affsctl -n 'not __affsctl_needs_command' -a '(__affsctl_values)'
