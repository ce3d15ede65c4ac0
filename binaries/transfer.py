from tf_lottery.cli.transfer import main
raise SystemExit(main())
