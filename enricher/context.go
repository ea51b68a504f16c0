package enricher

import (
	"fmt"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/enricher/intel"
	"github.com/gyre-sec/gyre/enricher/kube"
	"github.com/gyre-sec/gyre/enricher/label"
)

// addContext adds the stages that the configuration asks for. Labels come last: what they are looked up by may be what
// another stage has found.
func (e *Enricher) addContext(cfg Config, b *bus.Bus, log *slog.Logger, reg prometheus.Registerer) error {
	if cfg.Kube.Enabled {
		s, err := kube.New(cfg.Kube, b, log, reg)
		if err != nil {
			return fmt.Errorf("enricher kube: %w", err)
		}
		e.stages = append(e.stages, s)
	}
	if cfg.Labels.Enabled() {
		s, err := label.New(cfg.Labels, b, log, reg)
		if err != nil {
			return fmt.Errorf("enricher labels: %w", err)
		}
		e.stages = append(e.stages, s)
	}
	if len(cfg.Intel.Lists) > 0 {
		f, err := intel.New(cfg.Intel, b, log, reg)
		if err != nil {
			return fmt.Errorf("enricher intel: %w", err)
		}
		e.feeder = f
	}
	return nil
}
