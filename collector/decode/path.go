package decode

import "bytes"

// Join appends to dst the absolute form of name, which is relative to dir unless it
// starts with a slash: without empty and "." elements, and with ".." taken back as
// text. Symbolic links are not followed. Without a usable dir, the name is appended
// as it is. An abstract or empty name gives nothing new.
func Join(dst, dir, name []byte) []byte {
	if len(name) == 0 {
		return dst
	}
	start := len(dst)
	if name[0] != '/' {
		dir = bytes.TrimSuffix(dir, []byte(deletedMark))
		if len(dir) == 0 || dir[0] != '/' {
			return append(dst, name...)
		}
		dst = elements(dst, start, dir)
	}
	dst = elements(dst, start, name)
	if len(dst) == start {
		dst = append(dst, '/')
	}
	return dst
}

// elements appends the elements of path to dst[start:], each after a slash.
func elements(dst []byte, start int, path []byte) []byte {
	for len(path) > 0 {
		i := bytes.IndexByte(path, '/')
		var e []byte
		if i < 0 {
			e, path = path, nil
		} else {
			e, path = path[:i], path[i+1:]
		}
		switch {
		case len(e) == 0 || len(e) == 1 && e[0] == '.':
		case len(e) == 2 && e[0] == '.' && e[1] == '.':
			if j := bytes.LastIndexByte(dst[start:], '/'); j >= 0 {
				dst = dst[:start+j]
			}
		default:
			dst = append(append(dst, '/'), e...)
		}
	}
	return dst
}
