package label

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/oschwald/maxminddb-golang/v2"
)

// geo answers from a database in MaxMind's format. It is held in memory: a mapped file that is overwritten in place would
// end the process.
type geo struct{ db *maxminddb.Reader }

func readGeo(file string, data []byte) (*geo, error) {
	db, err := maxminddb.OpenBytes(data)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrTable, file, err)
	}
	return &geo{db}, nil
}

// country returns the code of the country of an address, or else of the country that it is registered in; "" if neither is known.
func (g *geo) country(a netip.Addr) (string, error) {
	var rec struct {
		Country struct {
			ISOCode string `maxminddb:"iso_code"`
		} `maxminddb:"country"`
		Registered struct {
			ISOCode string `maxminddb:"iso_code"`
		} `maxminddb:"registered_country"`
	}
	if err := g.decode(a, &rec); err != nil {
		return "", err
	}
	if rec.Country.ISOCode != "" {
		return rec.Country.ISOCode, nil
	}
	return rec.Registered.ISOCode, nil
}

// asn returns the number of the autonomous system of an address and who runs it; 0 if it is not known.
func (g *geo) asn(a netip.Addr) (uint32, string, error) {
	var rec struct {
		Number uint32 `maxminddb:"autonomous_system_number"`
		Org    string `maxminddb:"autonomous_system_organization"`
	}
	err := g.decode(a, &rec)
	return rec.Number, rec.Org, err
}

func (g *geo) decode(a netip.Addr, rec any) error {
	if a.Is6() && g.db.Metadata.IPVersion == 4 {
		return nil
	}
	err := g.db.Lookup(a).Decode(rec)
	if _, ok := errors.AsType[maxminddb.InvalidDatabaseError](err); ok {
		return fmt.Errorf("%w: %w", ErrTable, err)
	}
	return err
}
