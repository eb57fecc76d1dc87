.PHONY: check check-lint
check: ## install what the tests need, build, run every test
	@sh tests/check.sh

check-lint: $(CORES) ## purity of the cores, includes, formatting
	@sh tests/lint/purity.sh $(B)
	@sh tests/lint/layers.sh
	@sh tests/lint/format.sh
