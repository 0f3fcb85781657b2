package main

import (
	"cmp"
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/havn-registry/havn/test/programs"
)

// azurite installs Azurite from the npm registry under a temporary name and moves it to its place when it is whole: a folder with the right name is a finished one.
func azurite(ctx context.Context) error {
	return locked(ctx, "azurite", func() (err error) {
		if _, err = programs.Azurite(); err == nil {
			say("Azurite: there already")
			return nil
		}
		began := time.Now()
		registry := cmp.Or(os.Getenv("npm_config_registry"), npmRegistry)
		to, err := programs.AzuriteDir()
		if err != nil {
			return err
		}
		left, err := filepath.Glob(filepath.Join(filepath.Dir(to), building+"azurite-*"))
		for _, dir := range left { // of a prepare that was killed
			err = errors.Join(err, os.RemoveAll(dir))
		}
		if err != nil {
			return err
		}
		temp, err := os.MkdirTemp(filepath.Dir(to), building+"azurite-")
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(temp)) }()
		if err = programs.WriteAzurite(temp); err != nil {
			return err
		}
		say("Azurite: fetching it from %s", registry)
		if err = npmInstall(ctx, registry, temp); err != nil {
			return err
		}
		if err = os.Rename(temp, to); err != nil {
			return err
		}
		say("Azurite: installed in %s", time.Since(began).Round(time.Second))
		return nil
	})
}
