package programs

import (
	"crypto/sha256"
	"embed"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// azurite are the files from which Azurite is installed, all of fixed versions; `npm install` writes the lock.
//
//go:embed azurite
var azurite embed.FS

// AzuriteDir is where Azurite is once it is installed. What is installed is part of the name, so that another version is another folder.
func AzuriteDir() (string, error) {
	cache, err := Cache()
	if err != nil {
		return "", err
	}
	lock, err := azurite.ReadFile("azurite/package-lock.json")
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(lock)
	return filepath.Join(cache, fmt.Sprintf("azurite-%x", sum[:6])), nil
}

// Azurite answers the script that starts Azurite's blob service with Node.js, or an error that says how to install it.
func Azurite() (string, error) {
	dir, err := AzuriteDir()
	if err != nil {
		return "", err
	}
	script := filepath.Join(dir, "node_modules", "azurite", "dist", "src", "blob", "main.js")
	if _, err = os.Stat(script); err != nil {
		return "", fmt.Errorf("Azurite is not installed: run `go run ./prepare azurite` in test/ (%w)", err)
	}
	return script, nil
}

// WriteAzurite writes the files from which Azurite is installed into a folder.
func WriteAzurite(dir string) error {
	in, err := fs.Sub(azurite, "azurite")
	if err != nil {
		return err
	}
	return os.CopyFS(dir, in)
}
