package mysql

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/sink/notify"
)

// The login of the protocol: packets of a header (3 bytes of length, little endian, 1 of sequence) and a body, whose first byte says what it is.
const (
	headerSize = 4
	maxPacket  = 64 << 10 // of the login
	maxLogin   = 8        // packets of a login

	packetOK       = 0x00
	packetMoreData = 0x01
	packetGreeting = 0x0a
	packetSwitch   = 0xfe
	packetError    = 0xff

	// fastAuth of caching_sha2_password: the server knows the hash of the password.
	fastAuth = 0x03
)

// Capabilities of a server.
const (
	withDatabase = 1 << 3
	protocol41   = 1 << 9
	withTLS      = 1 << 11
	secureLogin  = 1 << 15
	pluginLogin  = 1 << 19
)

var errGreeting = errors.New("what listens there does not greet as a MySQL server from version 5.7 or a MariaDB server from 10.2 does")

// readPacket returns a packet with its header.
func readPacket(r io.Reader) ([]byte, error) {
	header := make([]byte, headerSize)
	if _, err := io.ReadFull(r, header); err != nil {
		return nil, fmt.Errorf("read from the server: %w", err)
	}
	n := int(header[0]) | int(header[1])<<8 | int(header[2])<<16
	if n == 0 || n > maxPacket {
		return nil, fmt.Errorf("%w: a packet of %d bytes", errGreeting, n)
	}
	packet := append(header, make([]byte, n)...)
	if _, err := io.ReadFull(r, packet[headerSize:]); err != nil {
		return nil, fmt.Errorf("read from the server: %w", err)
	}
	return packet, nil
}

// checkGreeting refuses a first packet that the client library cannot take.
func checkGreeting(b []byte, tls bool) error {
	if b[0] == packetError && len(b) > 3 {
		return fmt.Errorf("the server answers %d: %s", binary.LittleEndian.Uint16(b[1:]), notify.Cut(notify.Clean(string(b[3:])), 200))
	}
	version := bytes.IndexByte(b, 0)
	if b[0] != packetGreeting || version < 0 {
		return errGreeting
	}
	b = b[version+1:]
	// 4 connection, 8 salt, 1 nothing, 2 capabilities, 1 character set, 2 status, 2 capabilities, 1 size of the salt, 10 nothing, 13 salt, name of the plugin
	const capLow, capHigh, saltSize, plugin = 13, 18, 20, 44
	if len(b) < plugin || b[saltSize] != 21 || b[plugin-1] != 0 || bytes.IndexByte(b[plugin:], 0) < 0 {
		return errGreeting
	}
	caps := uint32(binary.LittleEndian.Uint16(b[capLow:])) | uint32(binary.LittleEndian.Uint16(b[capHigh:]))<<16
	const needed = withDatabase | protocol41 | secureLogin | pluginLogin
	if caps&needed != needed {
		return errGreeting
	}
	if tls && caps&withTLS == 0 {
		return daemon.Hint(errors.New("the server offers no TLS"), "give it a certificate, or set tls: false where nobody else can listen")
	}
	return nil
}

// checkLogin refuses a packet that would make the client library send the password over a connection without TLS. It reports
// whether the login is over.
func checkLogin(b []byte) (done bool, err error) {
	inClear := daemon.Hint(errors.New("the server asks for the password in a form that is sent only over TLS"), "set tls: true, or let the user log in with mysql_native_password")
	switch {
	case b[0] == packetOK, b[0] == packetError:
		return true, nil
	case b[0] == packetMoreData && len(b) == 2 && b[1] == fastAuth:
		return false, nil
	case b[0] == packetMoreData:
		return false, inClear
	case b[0] == packetSwitch:
		name, salt, ok := bytes.Cut(b[1:], []byte{0})
		if plugin := string(name); !ok || len(salt) < 20 || plugin != "mysql_native_password" && plugin != "caching_sha2_password" {
			return false, inClear
		}
		return false, nil
	}
	return false, fmt.Errorf("the server's login has an unknown packet %#x", b[0])
}
