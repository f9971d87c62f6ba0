function __cnnbench_complete
    set -l program (string replace -r '^~' $HOME -- (commandline -cpo)[1])
    set -l answers ($program -sc query (commandline -cp | string collect) 2>/dev/null)
    if string match -q ':files*' -- $answers[1]
        set -l before (string replace -r '^:files ?' '' -- $answers[1])
        set -l typed (commandline -ct)
        __fish_complete_path (string replace -- "$before" '' $typed) | string replace -r '^' -- $before
    else
        printf '%s\n' $answers
    end
end
complete -c cnnbench -f -a '(__cnnbench_complete)'
