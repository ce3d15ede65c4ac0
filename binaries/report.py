from tf_lottery.cli.report import main
raise SystemExit(main())
