_cnnbench() {
    local line=${COMP_LINE:0:COMP_POINT} current=${COMP_WORDS[COMP_CWORD]} program=${COMP_WORDS[0]/#\~/$HOME}
    local word before='' answer
    COMPREPLY=()
    [[ $current == [\'\"]* ]] || {
        word=${line##*[[:space:]]}
        before=${word%"${word##*["$COMP_WORDBREAKS"]}"} # readline replaces what follows its last word break only
    }
    while IFS= read -r answer; do
        if [[ $answer == :files* ]]; then
            compopt -o default +o nospace 2>/dev/null || COMPREPLY=($(compgen -f -- "${current#=}"))
            return
        fi
        [[ $answer == *[=.] ]] || answer+=' '
        COMPREPLY+=("${answer#"$before"}")
    done < <("$program" -sc query "$line" 2>/dev/null)
}
complete -o nospace -F _cnnbench cnnbench
