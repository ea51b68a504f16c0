#!/bin/bash
# The ordinary work of a Debian server, to see which rules fire without an attack: packages come and go, jobs run,
# logs rotate, somebody logs in, something is built, pages are served. Needs root and apt; listens on loopback only
# and leaves what it installed for its own use (openssh-server, nginx-light).
set -u
dir=$(mktemp -d /srv/ordinary.XXXXXX)
trap 'kill ${pids:-} 2>/dev/null; rm -rf "$dir"' EXIT
pids=
export DEBIAN_FRONTEND=noninteractive
step() { echo "ordinary: $1"; shift; "$@" >"$dir/log" 2>&1 || { echo "ordinary: failed: $*"; tail -5 "$dir/log"; }; }
port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
# An /usr/sbin/policy-rc.d that says no keeps packages from starting their daemons on every address.
if [ ! -e /usr/sbin/policy-rc.d ]; then
  printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d && chmod 755 /usr/sbin/policy-rc.d
  trap 'kill ${pids:-} 2>/dev/null; rm -rf "$dir" /usr/sbin/policy-rc.d' EXIT
fi

packages() {
  apt-get update -q && apt-get install -y -q --no-install-recommends openssh-server nginx-light tree cron &&
    apt-get install -y -q --reinstall sudo passwd; apt-get remove -y -q --purge tree && apt-get autoremove -y -q --dry-run
}
step "packages: update, install, reinstall, remove" packages

jobs() {
  cat >"$dir/nightly.sh" <<'END'
#!/bin/sh
set -e
tar czf "$1/etc.tgz" --exclude=shadow --exclude=gshadow --exclude=ssl/private -C / etc/default etc/apt etc/cron.daily
find /var/log -name '*.log' -size +1k -exec wc -l {} + | tail -1
df -h | awk 'NR > 1 && $5 + 0 > 99 { print $6 }'
ps -eo pid,comm --sort=-rss | head -5
grep -c processor /proc/cpuinfo; du -sh /usr/share/doc; uptime; free -m; ss -ltn; ip addr
curl -fsS -o /dev/null file:///etc/os-release
END
  chmod +x "$dir/nightly.sh" && sh -c "$dir/nightly.sh $dir"
  for job in dpkg logrotate man-db passwd; do [ ! -x /etc/cron.daily/$job ] || /etc/cron.daily/$job; done
  printf '* * * * * true\n' | crontab - && crontab -l && crontab -r
}
step "jobs: a nightly script, the daily jobs, a crontab" jobs

rotate() {
  mkdir "$dir/logs" && seq 1000 >"$dir/logs/app.log"
  printf '%s/logs/*.log {\n rotate 3\n compress\n copytruncate\n su root root\n}\n' "$dir" >"$dir/rotate.conf"
  chmod 644 "$dir/rotate.conf"; logrotate -f -s "$dir/rotate.state" "$dir/rotate.conf"
}
step "logs: rotation with compression" rotate

accounts() {
  useradd -m -s /bin/bash ordinary && echo "ordinary:$(head -c 12 /dev/urandom | base64)" | chpasswd && usermod -c Ordinary ordinary &&
    id ordinary && su ordinary -c 'mkdir -p ~/bin && echo "alias ll=\"ls -l\"" >~/.bash_aliases && ls -la ~'
}
step "accounts: one made, given a password, used" accounts

login() {
  p=$(port)
  ssh-keygen -q -t ed25519 -N '' -f "$dir/host" && ssh-keygen -q -t ed25519 -N '' -f "$dir/key" && mkdir -p /run/sshd
  install -d -m 700 -o ordinary ~ordinary/.ssh && install -m 600 -o ordinary "$dir/key.pub" ~ordinary/keys.pub
  printf 'Port %s\nListenAddress 127.0.0.1\nHostKey %s/host\nAuthorizedKeysFile %%h/keys.pub\nPidFile none\nUsePAM yes\nSubsystem sftp internal-sftp\nStrictModes no\n' "$p" "$dir" >"$dir/sshd"
  /usr/sbin/sshd -D -f "$dir/sshd" & pids="$pids $!"
  opts="-q -i $dir/key -o StrictHostKeyChecking=no -o UserKnownHostsFile=$dir/known"
  for _ in $(seq 50); do ssh $opts -p "$p" ordinary@127.0.0.1 true && break; sleep 0.2; done
  ssh $opts -p "$p" ordinary@127.0.0.1 'uname -a; w; ls -la; tail -3 /etc/passwd'
  ssh -tt $opts -p "$p" ordinary@127.0.0.1 <<<$'id\nps aux | head -3\nexit\n'
  scp $opts -P "$p" "$dir/key.pub" ordinary@127.0.0.1:up && echo "get up $dir/down" | sftp -b - $opts -P "$p" ordinary@127.0.0.1
}
step "logins: ssh with a key, a session, scp, sftp" login

build() {
  mkdir -p "$dir/c" "$dir/go" "$dir/deb/debian" && cd "$dir/c" && printf '#include <stdio.h>\nint main(void) { puts("hello"); return 0; }\n' >hello.c &&
    printf 'hello: hello.c\n\tcc -O2 -o hello hello.c\ninstall: hello\n\tinstall -D hello $(DESTDIR)/usr/bin/ordinary-hello\n' >Makefile && make && ./hello
  if command -v go >/dev/null; then
    cd "$dir/go" && printf 'package main\n\nimport "fmt"\n\nfunc main() { fmt.Println("hello") }\n' >main.go &&
      printf 'package main\n\nimport "testing"\n\nfunc TestX(t *testing.T) {}\n' >main_test.go && go mod init example.test/hello && go build . && ./hello && go test .
  fi
  cd "$dir/deb" && cp ../c/hello.c ../c/Makefile . &&
    printf 'ordinary-hello (1.0) unstable; urgency=low\n\n  * Built for the test.\n\n -- Ordinary <ordinary@example.test>  Thu, 01 Jan 2026 00:00:00 +0000\n' >debian/changelog &&
    printf 'Source: ordinary-hello\nMaintainer: Ordinary <ordinary@example.test>\nStandards-Version: 4.6.0\n\nPackage: ordinary-hello\nArchitecture: any\nDescription: says hello\n So it does.\n' >debian/control &&
    printf '#!/usr/bin/make -f\nclean:\n\trm -rf debian/tmp debian/files\nbuild build-arch build-indep:\n\tmake hello\nbinary-indep:\nbinary binary-arch: build\n\tmake install DESTDIR=$(CURDIR)/debian/tmp\n\tmkdir -p debian/tmp/DEBIAN\n\tdpkg-gencontrol\n\tdpkg-deb --build debian/tmp ..\n' >debian/rules &&
    chmod +x debian/rules && dpkg-buildpackage -d -b -us -uc && dpkg -i ../ordinary-hello_1.0_*.deb && ordinary-hello && dpkg -P ordinary-hello
  cd /
}
step "builds: make, go build and test, dpkg-buildpackage and its installation" build

serve() {
  a=$(port) b=$(port)
  mkdir -p "$dir/www" && seq 100 >"$dir/www/index.html" && chmod -R a+rX "$dir"
  printf 'daemon off;\npid %s/nginx.pid;\nerror_log %s/nginx.err;\nevents {}\nhttp { access_log %s/nginx.log; server { listen 127.0.0.1:%s; root %s/www; } }\n' "$dir" "$dir" "$dir" "$a" "$dir" >"$dir/nginx.conf"
  nginx -c "$dir/nginx.conf" & pids="$pids $!"
  python3 -m http.server -b 127.0.0.1 -d "$dir/www" "$b" & pids="$pids $!"
  for _ in $(seq 50); do curl -fsS -o /dev/null "http://127.0.0.1:$a/" "http://127.0.0.1:$b/" && break; sleep 0.2; done
  for _ in $(seq 20); do curl -fsS -o /dev/null "http://127.0.0.1:$a/"; curl -fsS -o "$dir/page" "http://127.0.0.1:$b/index.html"; done
  nginx -c "$dir/nginx.conf" -s reload; curl -fsS -o /dev/null "http://127.0.0.1:$a/"
}
step "web: nginx and python serve pages, nginx reloads" serve

tools() {
  git init -q "$dir/repo" && cd "$dir/repo" && echo a >a && git add a && git -c user.name=o -c user.email=o@example.test commit -qm a && git clone -q "$dir/repo" "$dir/clone"
  python3 -m venv --without-pip "$dir/venv" && "$dir/venv/bin/python" -c 'import json, ssl, subprocess; print(subprocess.check_output(["date"]))'
  openssl req -x509 -newkey rsa:2048 -nodes -keyout "$dir/tls.key" -out "$dir/tls.crt" -days 1 -subj /CN=localhost
  perl -e 'print join(",", map { $_ * $_ } 1..9)'; rsync -a "$dir/repo/" "$dir/copy/" || cp -a "$dir/repo" "$dir/copy"
  sysctl -a >/dev/null; mount | head -3; top -bn1 | head -5; lsof -p $$ | head -3; dmesg | tail -1; journalctl -n 1; mktemp -u; cd /
}
step "tools: git, python, openssl, perl, rsync, looking around" tools

userdel -r ordinary >/dev/null 2>&1
echo "ordinary: done"
