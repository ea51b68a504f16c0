package kube

import "strings"

// splitImage takes an image apart: registry/path, tag and digest.
func splitImage(s string) (repo, tag, digest string) {
	repo, digest, _ = strings.Cut(s, "@")
	if i := strings.LastIndexByte(repo, ':'); i > strings.LastIndexByte(repo, '/') {
		repo, tag = repo[:i], repo[i+1:]
	}
	return repo, tag, digest
}
