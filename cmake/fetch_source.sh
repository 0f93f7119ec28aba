#!/usr/bin/env bash
# Fetches Debian packages whose content we compile, and unpacks each to FOLDER/NAME.
#
#   fetch_source.sh FOLDER NAME KIND:PACKAGE TESTED ACCEPTED [NAME ...]...
#
# KIND is "source" or "binary"; TESTED and ACCEPTED are space-separated versions
# and glob patterns (cmake/third_party_versions.cmake says what they mean). A
# NAME already there at an accepted version is left alone.
#
# apt verifies what it downloads: against the machine's own Debian archives,
# with Debian's keyring and no other, through a private source list and private
# state, so the machine's apt is neither needed as root nor changed.
set -euo pipefail
export LC_ALL=C

readonly keyring=/usr/share/keyrings/debian-archive-keyring.gpg

say() { printf -- '-- %s\n' "$*"; }
die() {
  printf 'fetch_source.sh: %s\n' "$*" >&2
  exit 1
}

# Whether VERSION matches one of the space-separated PATTERNS.
matches() {
  local version=$1 pattern patterns
  read -ra patterns <<<"$2"
  for pattern in "${patterns[@]}"; do
    # shellcheck disable=SC2053  # A pattern is meant.
    [[ $version == $pattern ]] && return 0
  done
  return 1
}

# Whether FOLDER holds an accepted version already.
have() {
  local folder=$1 tested=$2 accepted=$3
  [[ -r $folder/.debian_version ]] && matches "$(<"$folder/.debian_version")" "$tested $accepted"
}

private_apt() {
  local tool=$1
  shift
  "$tool" -q \
    -o Dir::Etc::sourcelist="$scratch/sources.list" -o Dir::Etc::sourceparts="$scratch/none" \
    -o Dir::Etc::preferences="$scratch/none/none" -o Dir::Etc::preferencesparts="$scratch/none" \
    -o Dir::State="$scratch/state" -o Dir::State::status="$scratch/status" \
    -o Dir::Cache="$scratch/cache" -o APT::Sandbox::User="$(id -un)" \
    -o APT::Get::AllowUnauthenticated=false -o Acquire::AllowInsecureRepositories=false \
    -o Acquire::Retries=3 -o APT::Get::Only-Source=true "$@"
}

# The machine's Debian archives ("main" of each), as "SITE SUITE" lines. Whose an archive is says
# its index; where none was read yet all are taken, and Debian's key tells which to believe.
debian_archives() {
  local format='$(CREATED_BY)|$(COMPONENT)|$(ORIGIN)|$(REPO_URI) $(RELEASE)' known
  known=$(apt-get indextargets --format "$format" | sed -n 's/^Packages|main|Debian|//p' | sort -u)
  [[ -n $known ]] ||
    known=$(apt-get indextargets --no-release-info --format "$format" | sed -n 's/^Packages|main|[^|]*|//p' | sort -u)
  [[ -n $known ]] || die "apt on this machine has no Debian archive (main) to fetch from"
  printf '%s\n' "$known"
}

# The archives as entries of a source list that trust Debian's key only.
write_source_list() {
  local archives site suite type
  archives=$(debian_archives)
  while read -r site suite; do
    for type in "${types[@]}"; do
      printf '%s [signed-by=%s] %s %s main\n' "$type" "$keyring" "$site" "$suite"
    done
  done <<<"$archives" >"$scratch/sources.list"
}

prepare_apt() {
  [[ -r $keyring ]] || die "$keyring is missing (package debian-archive-keyring)"
  mkdir -p "$scratch"/{none,state/lists/partial,cache/archives/partial,download}
  : >"$scratch/status"
  write_source_list
  say "reading Debian's signed package index"
  # One archive that fails is no reason to stop; a version that is then missing is.
  private_apt apt-get update >"$scratch/update.log" 2>&1 || true
}

# The versions of PACKAGE on offer, newest first.
versions_of() {
  local kind=$1 package=$2 show=show
  [[ $kind == source ]] && show=showsrc
  { private_apt apt-cache "$show" "$package" 2>/dev/null || true; } |
    awk -v kind="$kind" -v package="$package" '
      /^Package:/ { ours = ($2 == package) }
      /^Version:/ && ours { print $2 }' | sort -ruV
}

# Sets version to the newest accepted one on offer.
choose_version() {
  local kind=$1 package=$2 tested=$3 accepted=$4 offered
  mapfile -t offered < <(versions_of "$kind" "$package")
  [[ ${#offered[@]} -gt 0 ]] || die "no $kind package $package in:
$(sed 's/^/  /' "$scratch/sources.list")
apt said:
$(grep -E '^(W|E|Err)' "$scratch/update.log" | sort -u | head -n 10 | sed 's/^/  /')"
  for version in "${offered[@]}"; do
    matches "$version" "$tested $accepted" || continue
    matches "$version" "$tested" ||
      say "note: $package $version is not among the tested versions ($tested)"
    return 0
  done
  die "$package is on offer as ${offered[*]}, not as any version that was tested: $tested"
}

unpack_source() {
  private_apt apt-get source --download-only "$1=$2"
  dpkg-source --no-copy -x ./*.dsc "$3"
}

unpack_binary() {
  private_apt apt-get download "$1=$2"
  dpkg-deb -x ./*.deb "$3"
}

fetch() {
  local name=$1 kind=${2%%:*} package=${2#*:} tested=$3 accepted=$4 version
  choose_version "$kind" "$package" "$tested" "$accepted"
  say "fetching $package $version"
  local log=$scratch/$name.log new=$scratch/$name.new
  (cd "$scratch/download" && rm -rf ./* && "unpack_$kind" "$package" "$version" "$new") \
    >"$log" 2>&1 || { cat "$log" >&2; die "could not fetch $package $version"; }
  # Tests and their vectors, most of BoringSSL's tree, are not compiled.
  rm -rf "$new"/crypto_test_data.cc "$new"/src/third_party/{googletest,wycheproof_testvectors} "$new"/src/fuzz
  printf '%s\n' "$version" >"$new/.debian_version"
  rm -rf "${folder:?}/$name"
  mv -T "$new" "$folder/$name"
}

main() {
  folder=$1
  shift
  [[ $# -gt 0 && $(($# % 4)) -eq 0 ]] || die "usage: FOLDER (NAME KIND:PACKAGE TESTED ACCEPTED)..."

  local wanted=() types=(deb-src)
  while [[ $# -gt 0 ]]; do
    if ! have "$folder/$1" "$3" "$4"; then
      wanted+=("$1" "$2" "$3" "$4")
      [[ $2 != binary:* ]] || types=(deb deb-src)
    fi
    shift 4
  done
  [[ ${#wanted[@]} -gt 0 ]] || return 0

  local tool
  for tool in apt-get apt-cache dpkg-source dpkg-deb; do
    command -v "$tool" >/dev/null || die "$tool is missing (scripts/install build brings it on Debian)"
  done
  mkdir -p "$folder"
  folder=$(cd "$folder" && pwd)
  scratch=$(mktemp -d "$folder/fetch.XXXXXX")
  trap 'rm -rf "$scratch"' EXIT

  prepare_apt
  set -- "${wanted[@]}"
  while [[ $# -gt 0 ]]; do
    fetch "$1" "$2" "$3" "$4"
    shift 4
  done
}

main "$@"
