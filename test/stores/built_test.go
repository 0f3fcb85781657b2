//go:build !rados

package stores

import "testing"

func TestAProgramWithoutLibradosSaysHowToBuildOneWithIt(t *testing.T) {
	refusesToStart(t, []string{"HAVN_STORAGE_DRIVER=rados", "HAVN_STORAGE_RADOS_POOL=p", "HAVN_STORAGE_RADOS_USER=u"}, "built without it", "go build -tags rados ./cmd/havn", "librados-dev")
}
