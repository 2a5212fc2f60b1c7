#!/usr/bin/env bash
# The one list of style and consistency checks: `make lint` runs all of them, pre-commit runs them one by one.
#   tests/lint.sh               run every check
#   tests/lint.sh ruff mypy     run these only
#   tests/lint.sh --list        print their names
# Every check runs even after one has failed; the exit code is 1 if any did.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 2

venv="${K2_VENV:-$PWD/.venv}"
[[ -d "$venv/bin" ]] && PATH="$venv/bin:$PATH"
export PATH ANSIBLE_CONFIG="$PWD/ansible.cfg"
# A live line in place of a finding helps nobody here.
export ANSIBLE_CALLBACKS_ENABLED=""

tracked() { git ls-files --cached --others --exclude-standard -- "$@" | grep -v '^collections/' | xargs -r ls -d 2>/dev/null; }

check_ruff_format() { ruff format --check --quiet --diff .; }
check_ruff() { ruff check --quiet .; }

check_mypy() {
  # Through collections/, so that the checker sees the same module names as Ansible does. Modules and plugins are
  # checked too; only the engine and the lab may not lean on untyped calls.
  local packages=(-p ansible_collections.k2.hardening.plugins.module_utils -p k2lab)
  [[ -n "$(tracked 'plugins/callback/*.py')" ]] && packages+=(-p ansible_collections.k2.hardening.plugins.callback)
  [[ -n "$(tracked 'plugins/action/*.py')" ]] && packages+=(-p ansible_collections.k2.hardening.plugins.action)
  [[ -n "$(tracked 'plugins/modules/*.py')" ]] && packages+=(-p ansible_collections.k2.hardening.plugins.modules)
  mypy --no-error-summary "${packages[@]}"
}

check_import_linter() { PYTHONPATH="collections:lab" lint-imports --no-cache --no-logo; }
check_yamllint() { yamllint --strict .; }
check_ansible_lint() { ansible-lint -q --nocolor; }

check_shellcheck() {
  local files
  mapfile -t files < <(tracked '*.sh' '.ci/run')
  [[ ${#files[@]} -gt 0 ]] || { echo "no shell script found: expected at least .ci/run"; return 1; }
  shellcheck --severity=style "${files[@]}"
}

check_collection_docs() { antsibull-docs lint-collection-docs --plugin-docs --skip-rstcheck .; }
check_changelog() { antsibull-changelog lint; }

check_registry_hosts() {
  # Where packages come from is the business of the machine that installs them, not of this repository.
  local hosts='pypi\.(org|io)|pythonhosted\.org|repo1?\.maven\.(org|apache)|maven\.org/maven2|proxy\.golang\.org|(registry-1|hub)\.docker\.(io|com)|deb\.debian\.org|registry\.npmjs'
  local options='(index|find)-(url|links)[ =]+[a-z]+://'
  if git grep --untracked -nIE "($hosts|$options)" -- . ':!tests/lint.sh'; then
    echo "remove the names of package registries above: use the machine's own configuration (pip.conf, settings.xml, GOPROXY)"
    return 1
  fi
}

checks=(ruff-format ruff mypy import-linter yamllint ansible-lint shellcheck collection-docs changelog registry-hosts)

if [[ "${1:-}" == --list ]]; then
  printf '%s\n' "${checks[@]}"
  exit 0
fi
selected=("$@")
[[ $# -eq 0 ]] && selected=("${checks[@]}")

log=$(mktemp)
trap 'rm -f "$log"' EXIT
passed=0 failed=0
for name in "${selected[@]}"; do
  if [[ " ${checks[*]} " != *" $name "* ]]; then
    echo "unknown check '$name'; known: ${checks[*]}" >&2
    exit 2
  fi
  start=$EPOCHREALTIME
  if "check_${name//-/_}" >"$log" 2>&1; then
    result=ok passed=$((passed + 1))
  else
    result=FAILED failed=$((failed + 1))
    sed 's/^/    /' "$log"
  fi
  printf '%-16s %-7s %6.1f s\n' "$name" "$result" "$(((${EPOCHREALTIME/./} - ${start/./}) / 100000))e-1"
done
echo "$passed passed, $failed failed"
[[ $failed -eq 0 ]]
