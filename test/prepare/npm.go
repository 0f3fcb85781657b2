package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	// npmRegistry is where packages are fetched from, unless npm_config_registry names another, as to npm.
	npmRegistry = "https://registry.npmjs.org"
	// mostTarball bounds a package in bytes. It is held in memory until its hash was checked.
	mostTarball = 256 << 20
	npmTime     = 2 * time.Minute
	npmAtOnce   = 8
)

// lock is a package-lock.json of npm (version 3): packages by the folder in which each belongs.
type lock struct {
	Packages map[string]lockedPackage
}

type lockedPackage struct {
	Version, Integrity string
	Link               bool
}

// npmInstall fetches what dir's package-lock.json names into dir, and runs no script of any package. A link of the lock leads to the folder absent, which dir has.
// npm is not asked: Debian's does not understand a lock with overrides by folders, and brings hundreds of packages with itself.
func npmInstall(ctx context.Context, registry, dir string) (err error) {
	text, err := os.ReadFile(filepath.Join(dir, "package-lock.json"))
	if err != nil {
		return err
	}
	var l lock
	if err = json.Unmarshal(text, &l); err != nil {
		return fmt.Errorf("package-lock.json: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(npmAtOnce)
	for folder, p := range l.Packages {
		switch {
		case p.Link:
			if err = npmLink(root, folder); err != nil {
				return errors.Join(err, group.Wait())
			}
		case p.Integrity != "":
			group.Go(func() error {
				if getErr := npmPackage(ctx, registry, root, folder, p); getErr != nil {
					return fmt.Errorf("npm package %s %s: %w", folder, p.Version, getErr)
				}
				return nil
			})
		}
	}
	return group.Wait()
}

func npmLink(root *os.Root, folder string) error {
	up, err := filepath.Rel(path.Dir(folder), "absent")
	if err == nil {
		err = root.MkdirAll(path.Dir(folder), 0o755)
	}
	if err == nil {
		err = root.Symlink(up, folder)
	}
	return err
}

// npmPackage fetches one package and unpacks it, if it is the one that the lock names.
func npmPackage(ctx context.Context, registry string, root *os.Root, folder string, p lockedPackage) error {
	_, name, ok := cutLast(folder, "node_modules/")
	want, isSHA512 := strings.CutPrefix(p.Integrity, "sha512-")
	if !ok || !isSHA512 {
		return errors.New("no package of a registry with a SHA-512")
	}
	url := strings.TrimSuffix(registry, "/") + "/" + name + "/-/" + path.Base(name) + "-" + p.Version + ".tgz"
	var data []byte
	err := again(ctx, func() (err error) {
		data, err = get(ctx, url)
		return err
	})
	if err != nil {
		return err
	}
	if sum := sha512.Sum512(data); base64.StdEncoding.EncodeToString(sum[:]) != want {
		return fmt.Errorf("%s is another content than the lock names", url)
	}
	return untar(root, folder, data)
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

func get(ctx context.Context, url string) (data []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, npmTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, res.Body.Close()) }()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("GET %s: %s", url, res.Status)
	}
	if data, err = io.ReadAll(io.LimitReader(res.Body, mostTarball+1)); err == nil && len(data) > mostTarball {
		err = fmt.Errorf("GET %s: more than %d bytes", url, mostTarball)
	}
	return data, err
}

// untar unpacks the files of a package, without the folder that all of them are in. Nothing gets out of the package's own.
func untar(root *os.Root, folder string, data []byte) error {
	packed, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return err
	}
	for files := tar.NewReader(packed); ; {
		h, nextErr := files.Next()
		if nextErr == io.EOF {
			return nil
		}
		if nextErr != nil {
			return nextErr
		}
		_, name, ok := strings.Cut(h.Name, "/")
		if h.Typeflag != tar.TypeReg || !ok {
			continue // npm unpacks files alone
		}
		if !filepath.IsLocal(name) {
			return fmt.Errorf("it has a file out of its folder: %s", h.Name)
		}
		if err = extract(root, path.Join(folder, name), files); err != nil {
			return err
		}
	}
}

func extract(root *os.Root, name string, from io.Reader) (err error) {
	if err = root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	to, err := root.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, to.Close()) }()
	_, err = io.Copy(to, from)
	return err
}
