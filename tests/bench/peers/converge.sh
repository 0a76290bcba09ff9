#!/bin/bash
# The state by one script over OpenSSH, as a careful person writes it by hand: everything is
# rendered here; one connection looks at all of it and puts right what is not.
#
#   converge.sh SOURCES ADDRESS...        SSH: the command that reaches an address
#
# In SOURCES, beside the sources: values.sed fills templates in, rows.sh has a variable for each
# kind of resource, files.rows a row per small file, sorted by its source: mode user group path name
set -euo pipefail
export LC_ALL=C
sources=$1
shift
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/new"
cp "$sources"/templates/* "$sources"/files/* "$work/new"
sed -i -f "$sources/values.sed" "$work"/new/*.j2
binary=$(sha256sum <"$sources/bin/warehouse")

{
    cat "$sources/rows.sh"
    echo "binary_sum=${binary%% *}"
    echo "files='$(cd "$work/new" && sha256sum * | cut -d' ' -f1 | paste -d' ' - "$sources/files.rows")'"
    echo "archive='$(tar -C "$work/new" -cz . | base64 -w0)'"
    cat <<'THERE'
export LC_ALL=C
changed=0
did() { changed=$((changed + 1)); }
mapfile -t missing < <(comm -23 <(printf '%s\n' $packages | sort) \
    <(dpkg-query -W -f '${db:Status-Status} ${Package}\n' $packages 2>/dev/null |
        sed -n 's/^installed //p' | sort))
if [ "${#missing[@]}" -gt 0 ]; then
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y "${missing[@]}" </dev/null >/dev/null 2>&1
    did
fi
getent passwd "$user" >/dev/null || {
    useradd --system --user-group --no-create-home --home-dir "$home" --shell "$shell" "$user"
    did
}
while read -r mode owner group path; do
    install -d -m "$mode" -o "$owner" -g "$group" "$path"
    did
done < <(grep -vxFf <(stat -c '%a %U %G %n' $(cut -d' ' -f4 <<<"$directories") 2>/dev/null) \
    <<<"$directories")

paths=$(cut -d' ' -f5 <<<"$files")
wrong=$({
    comm -23 <(awk '{print $1 "  " $5}' <<<"$files" | sort) <(sha256sum $paths 2>/dev/null | sort)
    comm -23 <(awk '{print $2, $3, $4, $5}' <<<"$files" | sort) \
        <(stat -c '%a %U %G %n' $paths 2>/dev/null | sort)
} | awk '{print $NF}' | sort -u)
if [ -n "$wrong" ]; then
    new=$(mktemp -d)
    base64 -d <<<"$archive" | tar -C "$new" -xz
    while read -r sum mode owner group path name; do
        grep -qxF "$path" <<<"$wrong" || continue
        install -m "$mode" -o "$owner" -g "$group" "$new/$name" "$path.new"
        mv -fT "$path.new" "$path"
        did
    done <<<"$files"
    rm -r "$new"
fi
if [ "$(sha256sum "$binary" 2>/dev/null | cut -d' ' -f1)" != "$binary_sum" ]; then
    echo "binary is to be sent"
    exit 0
fi
while read -r path target; do
    [ "$(readlink "$path")" = "$target" ] || { ln -sfT "$target" "$path"; did; }
done <<<"$links"
! grep -q '^/etc/systemd/' <<<"$wrong" || systemctl daemon-reload
if [ "$(systemctl is-enabled $units | sort -u)" != enabled ] ||
    [ "$(systemctl is-active $units | sort -u)" != active ]; then
    systemctl enable -q --now $units
    did
fi
if grep -q '^/etc/nginx/' <<<"$wrong" || [ "$(readlink "$site_link")" != "$site_target" ]; then
    ln -sfT "$site_target" "$site_link"
    nginx -q -t && systemctl reload nginx
fi
[ "$(sysctl -n "$sysctl_key")" = "$sysctl_value" ] || { sysctl -q -p "$sysctl_file"; did; }
echo "changed $changed"
THERE
} >"$work/script"

there() { $SSH "$1" sudo bash -s <"$work/script"; }

converge() {
    local said
    said=$(there "$1")
    if [ "$said" = "binary is to be sent" ]; then
        $SSH "$1" "sudo sh -c 'install -m 0755 /dev/stdin /srv/warehouse/bin/.new &&
            mv -fT /srv/warehouse/bin/.new /srv/warehouse/bin/warehouse'" <"$sources/bin/warehouse"
        said=$(there "$1")
    fi
    echo "$1 $said"
}

for address; do converge "$address" & done
for address; do wait -n; done
