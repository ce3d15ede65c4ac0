from tf_lottery.cli.reproduce import main
raise SystemExit(main())
