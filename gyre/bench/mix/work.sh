#!/bin/sh
# What the recording of realistic work is made of: a build, package management, logins, a web server with its clients,
# and work in a shell. It runs in a directory of its own and leaves nothing behind. As root.
set -eu
dir=$1
mkdir -p "$dir/home" "$dir/src" "$dir/www" "$dir/pkg/DEBIAN" "$dir/pkg/opt/hello"
cd "$dir"

# a web server and its clients
python3 -m http.server 8123 --bind 127.0.0.1 --directory www >access.log 2>&1 &
server=$!
trap 'kill $server' EXIT
i=0
while [ $i -lt 20 ]; do
  head -c 2000 /dev/urandom | base64 >"www/page$i.html"
  i=$((i + 1))
done

# a build
i=0
while [ $i -lt 24 ]; do
  {
    echo '#include <stdio.h>'
    echo '#include <stdlib.h>'
    echo '#include <string.h>'
    [ $((i % 4)) -ne 0 ] || echo '#include <sys/socket.h>'
    echo "int part$i(int x) { char *s = malloc(x + 1); memset(s, 'a', x); s[x] = 0; int n = puts(s); free(s); return n; }"
  } >"src/part$i.c"
  i=$((i + 1))
done
echo 'int part0(int); int main(void) { return part0(3) > 9; }' >src/main.c
cat >src/Makefile <<'MAKE'
CFLAGS = -O1 -g
hello: $(patsubst %.c,%.o,$(wildcard *.c))
	$(CC) -o $@ $^
clean:
	rm -f *.o hello
MAKE
make -s -C src -j2
./src/hello >/dev/null

# clients
i=0
while [ $i -lt 120 ]; do
  curl -s -o "got$((i % 5)).html" "http://127.0.0.1:8123/page$((i % 25)).html" || true
  i=$((i + 1))
done

# packages
cp src/hello pkg/opt/hello/
printf 'Package: gyre-mix-hello\nVersion: 1.0\nArchitecture: amd64\nMaintainer: nobody <nobody@example.com>\nDescription: a package for a recording\n' >pkg/DEBIAN/control
printf '#!/bin/sh\ntrue\n' >pkg/DEBIAN/postinst
chmod 755 pkg/DEBIAN/postinst
dpkg-deb --build pkg hello.deb >/dev/null
dpkg -i hello.deb >/dev/null
apt-get -s -qq install --reinstall bash >/dev/null 2>&1 || true
apt-cache policy bash coreutils >/dev/null
dpkg -S /bin/ls >/dev/null 2>&1 || true
dpkg -P gyre-mix-hello >/dev/null

# logins: sessions on terminals, as root and as somebody else
for who in nobody daemon nobody; do
  python3 - "$who" <<'LOGIN'
import os, pty, sys
os.chdir("/")
def quiet(fd):
    os.read(fd, 4096)
    return b"."
pty.spawn(["su", "-s", "/bin/bash", "-", sys.argv[1], "-c", "id; ls -l /etc | head -5; cat /etc/hostname; tty; last -n 3; ps -ef | wc -l; test -r /etc/shadow && head -c 1 /etc/shadow"], quiet)
LOGIN
done

# work in a shell
find /etc /usr/share/doc -maxdepth 2 -name '*.conf' >found
grep -rl alias /etc/skel /etc/profile.d /etc/default >/dev/null 2>&1 || true
i=0
while [ $i -lt 40 ]; do
  name=$(basename "$(sed -n "$((i + 1))p" found || true)" .conf)
  date +%s >>log
  awk -v n="$name" '{ print n, $1 }' log | sort -u | tail -2 >tail
  [ ! -s tail ] || cut -d' ' -f1 tail >/dev/null
  i=$((i + 1))
done
tar czf docs.tgz -C /usr/share/doc bash coreutils 2>/dev/null || true
mkdir -p unpacked && tar xzf docs.tgz -C unpacked
chmod -R go-w unpacked
mv unpacked moved && ln -s moved unpacked && rm -rf moved
git init -q repo && cd repo
i=0
while [ $i -lt 6 ]; do
  echo $i >file$i
  git add . && git -c user.name=a -c user.email=a@example.com commit -qm "change $i"
  i=$((i + 1))
done
git log --stat >/dev/null
cd ..
sqlite3 base.db 'create table t(a); insert into t values (1),(2); select count(*) from t;' >/dev/null
make -s -C src clean
