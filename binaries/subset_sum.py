from tf_lottery.cli.subset_sum import main
raise SystemExit(main())
