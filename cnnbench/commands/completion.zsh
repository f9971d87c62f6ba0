(( $+functions[compdef] )) || { autoload -Uz compinit && compinit -i }
_cnnbench() {
    local -a answers
    answers=("${(@f)$(${~words[1]} -sc query "${(j: :)words[1,CURRENT-1]} $PREFIX" 2>/dev/null)}")
    if [[ $answers[1] == :files* ]]; then
        compset -P '*='
        _files
        return
    fi
    compadd -S '' -- ${(M)answers:#*[=.]}
    compadd -- ${answers:#*[=.]}
}
compdef _cnnbench cnnbench
